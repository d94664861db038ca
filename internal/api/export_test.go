package api

import (
	"net/netip"
	"time"

	"tidings/internal/audience"
)

// SetClock gives s another clock for tickets and rates. Call it before serving.
func (s *Server) SetClock(now func() time.Time) { s.now = now }

// Exhaust takes all that a source address may send in this second.
func (s *Server) Exhaust(source netip.Addr) {
	for s.sources.allow(source, s.now()) {
	}
}

// ParseQuery gives the parameters of a query that the API reads.
func ParseQuery(raw string) map[string]string {
	q, all := parseQuery(raw), map[string]string{}
	for name, p := range map[string]struct {
		value string
		has   bool
	}{
		"sdkappid": {q.appID, q.hasAppID}, "identifier": {q.identifier, q.hasIdentifier}, "usersig": {q.ticket, q.hasTicket},
		"random": {q.random, q.hasRandom}, "contenttype": {q.contentType, q.hasContentType},
	} {
		if p.has {
			all[name] = p.value
		}
	}
	return all
}

// DecodeRemoveAttr decodes the body of a request to remove_attr.
func DecodeRemoveAttr(body []byte) error { return decode(body, new(removeAttrRequest), pushFamily) }

// EncodeGetAttr encodes the answer of get_attr about users.
func EncodeGetAttr(names *audience.Attributes, users []audience.User) []byte {
	var out getAttrResponse
	for _, u := range users {
		out.UserAttrs = append(out.UserAttrs, userAttrs{"u12345", attrs{names, u.Values}})
	}
	return encode(out, nil, "")
}
