package device

import (
	"slices"

	"tidings/internal/app"
	"tidings/internal/channel"
)

// Channels are the channels of an app, as far as they decide by which way a device is
// reached.
type Channels struct {
	Order     []channel.Provider       // those that the app prefers come first
	Providers map[int]channel.Provider // of its certificates
}

// ChannelsOf returns the channels of an app.
func ChannelsOf(a *app.App) Channels {
	c := Channels{Order: a.Settings.ChannelOrder(), Providers: map[int]channel.Provider{}}
	for i := range a.Certificates {
		c.Providers[a.Certificates[i].ID] = a.Certificates[i].Provider
	}
	return c
}

// ordinary reports whether a push that shows a notification goes to tokens of a kind.
// VoIP tokens and those of Live Activities take nothing else than what they are for.
func ordinary(k channel.TokenKind) bool {
	return k == channel.Alert || k == channel.FID || k == channel.Subscription
}

// Choose decides by which of its ways a device with a facet is reached: that of the provider
// that comes first in the order of the app, and of several of one provider the first of
// the device, which is the newest. Previews, lanes and traces all ask it.
//
// What is missing first is the reason: a token, then a certificate for one, then the
// permission.
func (c *Channels) Choose(f *Facet) Choice {
	best, rank, tokens := Choice{}, len(c.Order)+1, false
	for _, w := range f.Ways {
		if !ordinary(w.Kind) {
			continue
		}
		tokens = true
		p, known := c.Providers[w.Certificate]
		if !known {
			continue
		}
		if r := c.rank(p); r < rank {
			best, rank = Choice{Certificate: w.Certificate, Provider: p, Kind: w.Kind}, r
		}
	}
	switch {
	case !tokens:
		return Choice{Reason: NoToken}
	case best.Certificate == 0:
		return Choice{Reason: NoCertificate}
	case f.Permission == Denied:
		return Choice{Reason: PermissionOff}
	}
	return best
}

// rank is the place of a provider in the order; those that are not in it come last.
func (c *Channels) rank(p channel.Provider) int {
	if i := slices.Index(c.Order, p); i >= 0 {
		return i
	}
	return len(c.Order)
}

// Token returns the token of the device that a choice is for; nil if it has none.
func (d *Device) Token(c *Choice) *Token {
	for i := range d.Tokens {
		if t := &d.Tokens[i]; t.Certificate == c.Certificate && t.Kind == c.Kind {
			return t
		}
	}
	return nil
}

// BadgeAfter returns the badge that a message gives a device, which shows badge and is reached
// through a provider; -1 if the message leaves the badge as it is (spec/timpush-api.md, 11.1 and
// 11.3).
func BadgeAfter(badge int, m *channel.Message, p channel.Provider) int {
	add := m.BadgeAdd
	if mode := m.Apple.BadgeMode; add == 0 && p == channel.APNs && mode != nil && *mode == 0 {
		add = 1
	}
	switch {
	case m.BadgeSet != nil:
		return *m.BadgeSet
	case add > 0:
		return min(badge+add, MaxBadge)
	}
	return -1
}
