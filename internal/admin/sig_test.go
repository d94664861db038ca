package admin

import (
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/usersig"
)

// TestCheckSigAsTheServer: a ticket is checked as the server checks it, patiently or not.
func TestCheckSigAsTheServer(t *testing.T) {
	s := newService(t)
	secret := string(s.Apps.App(appID).Keys[0].Secret)
	good := ""
	for life := time.Hour; !strings.Contains(good, "*"); life += time.Second {
		good = usersig.Make(secret, appID, "administrator", time.Now(), life, nil)
	}
	blank := strings.ReplaceAll(good, "*", " ") // a + that was not percent-encoded
	for _, test := range []struct {
		ticket string
		strict bool
		code   int
	}{
		{good, true, 0},
		{good, false, 0},
		{blank, true, apierr.TicketMalformed.Code},
		{blank, false, 0},
	} {
		s.Strict = test.strict
		sig, err := s.checkSig(t.Context(), TicketRequest{ID: appID, Ticket: test.ticket})
		if err != nil || sig.Code != test.code {
			t.Errorf("strict %t: %q is %d %s, %v; want %d", test.strict, test.ticket, sig.Code, sig.Error, err, test.code)
		}
	}
}
