package gate

import (
	"net/url"
	"strconv"
	"strings"

	"tidings/internal/apierr"
	"tidings/internal/wording"
)

// query is what the API reads of a URL's query. Names and values are
// case-sensitive, the first of duplicates counts, everything else is ignored.
// Contract: spec/conventions.md, 2.1.
type query struct {
	appID, identifier, ticket, random, contentType string

	hasAppID, hasIdentifier, hasTicket, hasRandom, hasContentType bool
	broken                                                        string // a parameter whose percent-encoding is wrong
}

func parseQuery(raw string) query {
	var q query
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		if strings.Contains(name, "%") {
			name, _ = url.QueryUnescape(name)
		}
		var to *string
		var has *bool
		switch name {
		case "sdkappid":
			to, has = &q.appID, &q.hasAppID
		case "identifier":
			to, has = &q.identifier, &q.hasIdentifier
		case "usersig":
			to, has = &q.ticket, &q.hasTicket
		case "random":
			to, has = &q.random, &q.hasRandom
		case "contenttype":
			to, has = &q.contentType, &q.hasContentType
		}
		if to == nil || *has {
			continue
		}
		*has = true
		if !strings.ContainsAny(value, "%+") {
			*to = value
			continue
		}
		var err error
		if *to, err = url.QueryUnescape(value); err != nil && name != "random" {
			q.broken = name
		}
	}
	return q
}

func (q *query) sdkAppID() (uint32, error) {
	if !q.hasAppID {
		return 0, apierr.NoSDKAppID
	}
	id, err := strconv.ParseUint(q.appID, 10, 32)
	if err != nil || id == 0 {
		return 0, apierr.BadQuery.Errorf("sdkappid %s is not a number from 1 to 4294967295", Quote(q.appID))
	}
	return uint32(id), nil
}

// complete is check 8: all parameters there and well formed.
func (q *query) complete() error {
	switch {
	case q.broken != "":
		return apierr.BadQuery.Errorf("%s in the URL is not percent-encoded as it should be", q.broken)
	case q.identifier == "":
		return apierr.BadQuery.Errorf("identifier is missing in the URL")
	case !q.hasTicket:
		return apierr.BadQuery.Errorf("usersig is missing in the URL")
	case q.hasContentType && q.contentType != "json":
		return apierr.BadQuery.Errorf("contenttype %s is not json", Quote(q.contentType))
	}
	return nil
}

// Quote quotes a value from a request for an error text, shortened if it is long.
func Quote(s string) string { return strconv.Quote(wording.Clip(s, 100)) }
