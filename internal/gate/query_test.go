package gate

import (
	"net/url"
	"testing"
)

// FuzzQuery compares the parser of queries with net/url's, where that has no
// complaint: both take the first of duplicates.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"usersig=xxx&identifier=admin&sdkappid=88888888&random=99999999&contenttype=json",
		"sdkappid=1&sdkappid=2", "sdkappid", "=&=sdkappid&&", "%73dkappid=%31+", "sdk+appid=1", "identifier=%e7%94%a8%E6%88%B7",
		"usersig=a%2Ab*c-d_=&usersig==", "random=-1&random=%zz", "a;b=1&identifier=x",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := parseQuery(raw)
		want, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		for name, p := range map[string]struct {
			value string
			has   bool
		}{
			"sdkappid": {got.appID, got.hasAppID}, "identifier": {got.identifier, got.hasIdentifier}, "usersig": {got.ticket, got.hasTicket},
			"random": {got.random, got.hasRandom}, "contenttype": {got.contentType, got.hasContentType},
		} {
			if p.has != want.Has(name) || p.value != want.Get(name) {
				t.Errorf("%q: %s is %q, %v, want %q, %v", raw, name, p.value, p.has, want.Get(name), want.Has(name))
			}
		}
	})
}
