package api

import (
	"net/http"
	"slices"

	"tidings/internal/apierr"
	"tidings/internal/channel"
	"tidings/internal/gate"
)

// fixedHeaders cannot be overridden, since they say for whom a message is, or who sends it
// (push.md, 5).
var fixedHeaders = []string{"Authorization", "Apns-Topic", "Topic", "Crypto-Key", "Host", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection"}

// read checks overrides and returns them. What FCM's message may be is for its driver to say.
func (in *overrides) read() (o channel.Overrides, err error) {
	if in == nil {
		return o, nil
	}
	if o.Apns, err = in.Apns.read("Overrides.Apns"); err != nil {
		return o, err
	}
	if o.WebPush, err = in.WebPush.read("Overrides.WebPush"); err != nil {
		return o, err
	}
	if in.Fcm == nil {
		return o, nil
	}
	o.Fcm = compact(in.Fcm)
	return o, nil
}

func (in *providerOverride) read(place string) (o channel.PayloadOverride, err error) {
	if in == nil {
		return o, nil
	}
	for i, h := range in.Headers {
		switch {
		case i >= 20:
			return o, apierr.BadJSON.Errorf("%s.Headers has more than 20 entries", place)
		case !headerName(h.Name):
			return o, apierr.BadJSON.Errorf("%s.Headers: %s is no name of a header", place, gate.Quote(h.Name))
		case slices.Contains(fixedHeaders, http.CanonicalHeaderKey(h.Name)):
			return o, apierr.BadJSON.Errorf("%s.Headers.%s cannot be overridden", place, h.Name)
		case !headerValue(h.Value):
			return o, apierr.BadJSON.Errorf("%s.Headers.%s is not printable ASCII", place, h.Name)
		}
		if o.Headers == nil {
			o.Headers = map[string]string{}
		}
		o.Headers[h.Name] = h.Value
	}
	if in.Payload != nil {
		o.Payload = compact(in.Payload)
	}
	return o, nil
}

// headerName reports whether a text is the name of a header: letters, digits and hyphens, as all
// that providers know.
func headerName(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

func headerValue(s string) bool {
	return len(s) <= 1000 && !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < ' ' || c > '~' })
}
