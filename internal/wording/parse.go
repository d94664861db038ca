package wording

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Quote quotes a text for a mistake, and cuts it: where a quotation mark is
// missing, it may go on for pages.
func Quote(text string) string {
	const limit = 60
	if len(text) <= limit {
		return strconv.Quote(text)
	}
	cut := limit
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(text[:cut]) + "..."
}

// ParseBool reads true or false.
func ParseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%s is neither true nor false", Quote(s))
	}
	return s == "true", nil
}

// ParseInt reads a number whose range is checked elsewhere.
func ParseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number", Quote(s))
	}
	return n, nil
}

// ParseNetwork reads a network, or an address, which is a network of one.
func ParseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%s is not an address or network such as 192.0.2.7 or 10.0.0.0/8", Quote(s))
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s is an address in a network, the network is %v", Quote(s), p.Masked())
	}
	return p, nil
}

// ParseOrigin reads a web origin, as browsers send it; * is any.
func ParseOrigin(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	s = strings.ToLower(s)
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Scheme+"://"+u.Host != s {
		return "", fmt.Errorf("%s is not an origin such as https://console.example.com (without a path)", Quote(s))
	}
	return s, nil
}

// A Span is a duration that people write and read: whole days as days.
type Span time.Duration

// ParseSpan reads what ParseDuration reads.
func ParseSpan(s string) (Span, error) {
	d, err := ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration such as 500ms, 3s, 1m30s or 30d", Quote(s))
	}
	return Span(d), nil
}

// String returns a text that ParseSpan reads back.
func (s Span) String() string { return Duration(time.Duration(s)) }

// MarshalText returns the text of the span, for JSON.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text of a span.
func (s *Span) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSpan(string(text))
	return err
}
