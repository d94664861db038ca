package api

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/gate"
)

// installation is what a client app says of the device that it runs on.
type installation struct {
	Platform      string        `need:"yes" note:"one of: android, ios, harmony, web"`                                      // The platform of the device.
	Model         string        `note:"at most 64 bytes"`                                                                   // The model of the device, as its maker calls it.
	System        string        `note:"at most 64 bytes"`                                                                   // The name of the operating system, or of the browser.
	SystemVersion string        `note:"at most 64 bytes"`                                                                   // The version of the system.
	AppVersion    string        `note:"at most 64 bytes"`                                                                   // The version of the app.
	SDKVersion    string        `note:"at most 64 bytes"`                                                                   // The version of the SDK in the app.
	PushVersion   string        `note:"at most 64 bytes"`                                                                   // The version of the push plug-in in the app.
	Language      string        `note:"BCP 47, such as zh-Hant-TW; what is beyond language, script and region is left out"` // The language that the person reads.
	TimeZone      string        `note:"a name of IANA such as Europe/Paris, at most 64 bytes"`                              // The time zone of the device.
	Permission    string        `note:"one of: allowed, denied"`                                                            // Whether the person permits notifications. It is absent if that is not known.
	Test          int64         `range:"0-1"`                                                                               // 1: a device for tests.
	Tokens        []deviceToken `items:"0-8"`                                                                               // All tokens by which the device is reached now. One that is left out is given up.
}

type deviceToken struct {
	Certificate int64  `need:"yes"`                                                                                // The number of the certificate of the app that the token belongs to.
	Kind        string `note:"one of: alert, fid, voip, liveactivity, liveactivity-start, webpush; default alert"` // What the token is good for. The provider of the certificate takes it.
	Token       string `need:"yes" note:"1 to 4096 bytes"`                                                         // The token as the provider gave it.
	LaID        string `json:"LaId" note:"at most 64 bytes"`                                                       // The Live Activity that the token is for. A token of the kind liveactivity needs it, no other has it.
	Environment string `note:"one of: production, sandbox"`                                                        // The system of Apple that the token belongs to. It is absent for the environment of the certificate.
	Topic       string `note:"at most 255 bytes"`                                                                  // The topic, or bundle, if it is not that of the certificate.
	Expires     int64  `range:"0-4294967295"`                                                                      // When the token ends, in Unix seconds. 0: it is not known.
}

// maxLaIDBytes is the longest name of a Live Activity (spec/timpush-api.md, 11.3).
const maxLaIDBytes = 64

var (
	platforms    = []string{"android", "ios", "harmony", "web"}
	permissions  = []device.Permission{device.PermissionUnknown, device.Allowed, device.Denied}
	environments = []channel.Environment{"", channel.Production, channel.Sandbox}
)

// device checks what an installation says of itself.
func (s *Server) device(c *gate.Caller, in *installation) (d device.Device, err error) {
	d = device.Device{
		Platform: in.Platform, Model: in.Model, System: in.System, SystemVersion: in.SystemVersion,
		SDKVersion: in.SDKVersion, PushVersion: in.PushVersion, AppVersion: in.AppVersion,
		TimeZone: in.TimeZone, Permission: device.Permission(in.Permission), Test: in.Test == 1,
		LastActive: c.Now.UTC().Truncate(time.Second),
	}
	switch {
	case !slices.Contains(platforms, in.Platform):
		return d, badField("Platform", in.Platform, "is none of "+strings.Join(platforms, ", "))
	case !slices.Contains(permissions, d.Permission):
		return d, badField("Permission", in.Permission, "is neither allowed nor denied")
	}
	for _, text := range []struct{ name, value string }{
		{"Model", in.Model},
		{"System", in.System},
		{"SystemVersion", in.SystemVersion},
		{"AppVersion", in.AppVersion},
		{"SDKVersion", in.SDKVersion},
		{"PushVersion", in.PushVersion},
	} {
		if err := checkText(text.name, text.value, device.MaxText); err != nil {
			return d, err
		}
	}
	if !isZone(in.TimeZone) {
		return d, badField("TimeZone", in.TimeZone, "is no name of a time zone such as Europe/Paris")
	}
	if err := checkText("Language", in.Language, device.MaxText); err != nil {
		return d, err
	}
	if d.Language, err = device.CanonicalLanguage(in.Language); err != nil {
		return d, badField("Language", in.Language, "is no language of BCP 47")
	}
	if len(in.Tokens) > device.MaxTokens {
		return d, apierr.BadJSON.Errorf("Tokens has %d entries, at most %d are allowed", len(in.Tokens), device.MaxTokens)
	}
	for i := range in.Tokens {
		t, err := s.token(c, &in.Tokens[i])
		if err != nil {
			err.Msg = "Tokens[" + string(rune('0'+i)) + "]." + err.Msg
			return d, err
		}
		if slices.ContainsFunc(d.Tokens, func(u device.Token) bool { return u.SamePlace(&t) }) {
			return d, apierr.BadJSON.Errorf("Tokens[%d]: a token of certificate %d and kind %s is there already", i, t.Certificate, t.Kind)
		}
		d.Tokens = append(d.Tokens, t)
	}
	return d, nil
}

// token checks a token. Errors begin with the name of the member.
func (s *Server) token(c *gate.Caller, in *deviceToken) (t device.Token, err *apierr.Error) {
	t = device.Token{
		Certificate: int(in.Certificate), Kind: channel.TokenKind(in.Kind), LaID: in.LaID,
		Address: channel.Address(in.Token), Environment: channel.Environment(in.Environment), Topic: in.Topic,
		Registered: c.Now.UTC().Truncate(time.Second), Refreshed: c.Now.UTC().Truncate(time.Second),
	}
	if t.Kind == "" {
		t.Kind = channel.Alert
	}
	if in.Expires > 0 {
		t.Expires = time.Unix(in.Expires, 0).UTC()
	}
	var certificate *app.Certificate
	if int64(t.Certificate) == in.Certificate {
		certificate = c.App.Certificate(t.Certificate)
	}
	if certificate == nil {
		return t, apierr.BadJSON.Errorf("Certificate: app %d has no certificate %d", c.App.ID, in.Certificate)
	}
	driver := s.drivers[certificate.Provider]
	switch {
	case driver == nil:
		return t, apierr.BadJSON.Errorf("Certificate: certificate %d is of %s, which this server cannot reach", t.Certificate, certificate.Provider)
	case !slices.Contains(driver.Kinds(), t.Kind):
		return t, apierr.BadJSON.Errorf("Kind: certificate %d is of %s, which takes no token of kind %s", t.Certificate, certificate.Provider, gate.Quote(string(t.Kind)))
	case in.Token == "" || len(in.Token) > device.MaxAddress:
		return t, apierr.BadJSON.Errorf("Token has %d bytes, it may have 1 to %d", len(in.Token), device.MaxAddress)
	case strings.ContainsFunc(in.Token, notASCII):
		return t, apierr.BadJSON.Errorf("Token holds a character that no token has")
	case (t.Kind == channel.LiveActivity) != (in.LaID != ""):
		return t, apierr.BadJSON.Errorf("LaId: a token of the kind liveactivity needs it, and no other has it")
	case !slices.Contains(environments, t.Environment):
		return t, badField("Environment", in.Environment, "is neither production nor sandbox")
	case t.Environment != "" && certificate.Provider != channel.APNs:
		return t, apierr.BadJSON.Errorf("Environment: certificate %d is of %s, only tokens of Apple have one", t.Certificate, certificate.Provider)
	}
	if err := checkText("LaId", in.LaID, maxLaIDBytes); err != nil {
		return t, err
	}
	return t, checkText("Topic", in.Topic, device.MaxTopic)
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isZone reports whether a text has the form of a time zone. Whether there is one of this
// name depends on which version of the list somebody has.
func isZone(s string) bool {
	if len(s) > device.MaxText {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && !strings.ContainsRune("_-+/", rune(c)) {
			return false
		}
	}
	return true
}

// checkText returns why a text is not one of at most so many bytes that can be printed; nil
// if it is one.
func checkText(name, text string, limit int) *apierr.Error {
	switch {
	case len(text) > limit:
		return apierr.BadJSON.Errorf("%s has %d bytes, it may have %d", name, len(text), limit)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return badField(name, text, "holds a character that cannot be printed")
	}
	return nil
}

func badField(name, value, why string) *apierr.Error {
	return apierr.BadJSON.Errorf("%s: %s %s", name, gate.Quote(value), why)
}
