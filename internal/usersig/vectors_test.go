package usersig

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
)

// vector is one entry of the contract's usersig-vectors.json
// (spec/conventions.md, 1.9).
type vector struct {
	ID          string   `json:"id"`
	Secret      string   `json:"secret_key"`
	Accepted    []string `json:"accepted_keys"` // scenarios
	SDKAppID    uint32   `json:"request_sdkappid"`
	Identifier  string   `json:"request_identifier"`
	Now         int64    `json:"now"`
	Ticket      string   `json:"usersig"`
	Signed      string   `json:"signed_content"`
	HMAC        string   `json:"hmac_sha256_base64"`
	Invalidated int64    `json:"login_state_invalidated_at"`
	Strict      bool     `json:"strict"` // wrong only with strict_usersig
	Claims      struct {
		Identifier string  `json:"TLS.identifier"`
		SDKAppID   int64   `json:"TLS.sdkappid"`
		Time       int64   `json:"TLS.time"`
		Expire     int64   `json:"TLS.expire"`
		Userbuf    *string `json:"TLS.userbuf"`
	} `json:"claims"`
	Expect struct {
		Valid bool `json:"valid"`
		Code  int  `json:"error_code"`
	} `json:"expect"`
}

func (v vector) claims() Claims {
	c := Claims{Identifier: v.Claims.Identifier, SDKAppID: v.Claims.SDKAppID, Issued: v.Claims.Time, Life: v.Claims.Expire}
	if v.Claims.Userbuf != nil {
		c.Userbuf, c.HasUserbuf = *v.Claims.Userbuf, true
	}
	return c
}

func (v vector) request() Request {
	keys := v.Accepted
	if v.Secret != "" {
		keys = append(keys, v.Secret)
	}
	return Request{Ticket: v.Ticket, Identifier: v.Identifier, SDKAppID: v.SDKAppID, Keys: keys, Now: time.Unix(v.Now, 0)}
}

type vectorFile struct {
	Positive, Negative, Scenarios []vector
}

func readVectors(t testing.TB) (f vectorFile) {
	t.Helper()
	b, err := os.ReadFile("testdata/usersig-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Positive) != 26 || len(f.Negative) != 49 || len(f.Scenarios) != 7 {
		t.Fatalf("read %d, %d and %d vectors, want 26, 49 and 7", len(f.Positive), len(f.Negative), len(f.Scenarios))
	}
	return f
}

// codeOf is the ErrorCode of err; 0 for nil.
func codeOf(err error) int {
	if err == nil {
		return 0
	}
	return apierr.From(err).Kind.Code
}

// checkSecrets fails if the text of err shows a key, the ticket or a signature.
func checkSecrets(t *testing.T, err error, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if err != nil && len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Errorf("error shows a secret: %v", err)
		}
	}
}

func TestPositiveVectors(t *testing.T) {
	for _, v := range readVectors(t).Positive {
		t.Run(v.ID, func(t *testing.T) {
			got, key, err := Verify(v.request())
			if err != nil || key != 0 || got != v.claims() {
				t.Fatalf("Verify = %+v, %d, %v; want %+v, 0, nil", got, key, err, v.claims())
			}
			if got, err := Parse(v.Ticket, false); err != nil || got != v.claims() {
				t.Errorf("Parse = %+v, %v; want %+v, nil", got, err, v.claims())
			}
			if signed := string(got.appendSigned(nil)); signed != v.Signed {
				t.Errorf("signed text is %q, want %q", signed, v.Signed)
			}
			if sig := base64.StdEncoding.EncodeToString(sign(v.Secret, []byte(v.Signed))); sig != v.HMAC {
				t.Errorf("signature is %s, want %s", sig, v.HMAC)
			}
		})
	}
}

// TestMakeVectors makes the tickets of the contract anew: the outer text may
// differ, the claims and the signature may not.
func TestMakeVectors(t *testing.T) {
	for _, v := range readVectors(t).Positive {
		t.Run(v.ID, func(t *testing.T) {
			want := v.claims()
			userbuf, err := base64.StdEncoding.DecodeString(want.Userbuf)
			if err != nil {
				t.Fatal(err)
			}
			r := v.request()
			r.Ticket = Make(v.Secret, v.SDKAppID, v.Identifier, time.Unix(want.Issued, 0), time.Duration(want.Life)*time.Second, userbuf)
			got, _, err := Verify(r)
			if err != nil || got != want {
				t.Fatalf("Verify(Make) = %+v, %v; want %+v, nil", got, err, want)
			}
			if _, sig, _ := parse(r.Ticket, false); base64.StdEncoding.EncodeToString(sig) != v.HMAC {
				t.Errorf("signature is %x, want %s", sig, v.HMAC)
			}
			if strings.Trim(r.Ticket, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-_") != "" {
				t.Errorf("ticket has characters outside its alphabet: %s", r.Ticket)
			}
		})
	}
}

// TestNegativeVectors holds that each is refused with strict_usersig, and without it
// all but those that are marked: what live clients send, and the signature does not
// cover (spec/conventions.md, 9.14).
func TestNegativeVectors(t *testing.T) {
	marked := 0
	for _, v := range readVectors(t).Negative {
		if v.Strict {
			marked++
		}
		for _, strict := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/strict=%t", v.ID, strict), func(t *testing.T) {
				want := v.Expect.Code
				if v.Strict && !strict {
					want = 0
				}
				r := v.request()
				r.Strict = strict
				c, _, err := Verify(r)
				if codeOf(err) != want {
					t.Errorf("Verify = %+v, %v; want code %d", c, err, want)
				}
				if err != nil && c != (Claims{}) {
					t.Errorf("Verify = %+v with %v, want no claims", c, err)
				}
				checkSecrets(t, err, v.Secret, v.Ticket, v.HMAC)
			})
		}
	}
	if marked != 3 {
		t.Errorf("%d vectors are marked strict, want 3", marked)
	}
}

// TestPatience holds where the patience with live clients ends.
func TestPatience(t *testing.T) {
	ticket := func(members string) string {
		sig := base64.StdEncoding.EncodeToString(sign(secret, Claims{Identifier: user, SDKAppID: appID, Issued: 1_700_000_000, Life: 3600}.appendSigned(nil)))
		return encode(deflate([]byte(`{"TLS.identifier":"` + user + `",` + members + `,"TLS.sig":"` + sig + `"}`)))
	}
	for _, tc := range []struct {
		name, members string
		good          bool
		text          string
	}{
		{"version 4, all as text", `"TLS.ver":"4.0","TLS.sdkappid":"1400000001","TLS.time":"1700000000","TLS.expire":"3600"`, true, ""},
		{"not decimal", `"TLS.ver":"2.0","TLS.sdkappid":"0x5371","TLS.time":1700000000,"TLS.expire":3600`, false, "TLS.sdkappid is not an integer"},
		{"leading zero", `"TLS.ver":"2.0","TLS.sdkappid":1400000001,"TLS.time":"01700000000","TLS.expire":3600`, false, "TLS.time is not an integer"},
		{"sign", `"TLS.ver":"2.0","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":"+3600"`, false, "TLS.expire is not an integer"},
		{"blanks", `"TLS.ver":"2.0","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":" 3600"`, false, "TLS.expire is not an integer"},
		{"empty", `"TLS.ver":"2.0","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":""`, false, "TLS.expire is not an integer"},
		{"version as a number", `"TLS.ver":2,"TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":3600`, false, "TLS.ver is not a string"},
		{"version 1", `"TLS.account_type":"0","TLS.appid_at_3rd":"1400000001","TLS.sdk_appid":"1400000001","TLS.time":"1700000000","TLS.expire_after":"15552000","TLS.version":"201610110000"`, false, "usersig is of version 1 (ECDSA)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Request{Ticket: ticket(tc.members), Identifier: user, SDKAppID: appID, Keys: []string{secret}, Now: time.Unix(1_700_000_000, 0)}
			_, _, err := Verify(r)
			if (err == nil) != tc.good || err != nil && (codeOf(err) != 70003 || !strings.Contains(err.Error(), tc.text)) {
				t.Errorf("Verify = %v, want good = %t, %q", err, tc.good, tc.text)
			}
			if r.Strict = true; tc.good {
				if _, _, err := Verify(r); codeOf(err) != 70003 {
					t.Errorf("strict Verify = %v, want 70003", err)
				}
			}
		})
	}
}

func TestScenarioVectors(t *testing.T) {
	for _, v := range readVectors(t).Scenarios {
		t.Run(v.ID, func(t *testing.T) {
			c, key, err := Verify(v.request())
			if err == nil {
				err = c.Invalidated(v.Invalidated)
				if want := len(v.Accepted) - 1; key != want {
					t.Errorf("matching key is %d, want %d", key, want)
				}
			}
			if codeOf(err) != v.Expect.Code {
				t.Errorf("got %v, want code %d", err, v.Expect.Code)
			}
			checkSecrets(t, err, append(v.Accepted, v.Ticket)...)
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, v := range readVectors(b).Positive[:3] {
		r := v.request()
		b.Run(v.ID, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Verify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyBomb(b *testing.B) {
	for _, v := range readVectors(b).Negative {
		if v.ID != "N38-bomb-small" {
			continue
		}
		r := v.request()
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Verify(r); err == nil {
				b.Fatal("a bomb was accepted")
			}
		}
	}
}
