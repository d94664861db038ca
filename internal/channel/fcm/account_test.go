package fcm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/channel/channeltest"
)

// pemOf returns a private key in PEM.
func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestCheck(t *testing.T) {
	d, err := New(Options{TokenURL: "http://127.0.0.1:8089/token"})
	if err != nil {
		t.Fatal(err)
	}
	facts, err := d.Check(secretOf(t, members()), channel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "project chat-prod, key 3f0c5d7e…"; facts.Hint != want || !facts.Ends.IsZero() {
		t.Errorf("got %+v, want the hint %q and no end", facts, want)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(testKey(), "MII", "MIJ", 1)
	const value = "s3cret-value-that-never-shows"
	for _, c := range []struct {
		member string
		value  any // nil: the member is missing
		want   string
	}{
		{"type", nil, "type of the service account is missing"},
		{"type", value, "type of the service account is wrong"},
		{"type", 7, "type of the service account is no string"},
		{"project_id", nil, "project_id of the service account is missing"},
		{"project_id", value + "/../other", "project_id of the service account is wrong"},
		{"project_id", "Chat", "project_id of the service account is wrong"},
		{"project_id", "a%2fb-c-d", "project_id of the service account is wrong"},
		{"private_key_id", "", "private_key_id of the service account is missing"},
		{"private_key_id", value + "\n", "private_key_id of the service account is wrong"},
		{"client_email", nil, "client_email of the service account is missing"},
		{"client_email", value, "client_email of the service account is wrong"},
		{"token_uri", nil, "token_uri of the service account is missing"},
		{"token_uri", "https://" + value + ".example/token", "token_uri of the service account is wrong"},
		{"token_uri", "http://169.254.169.254/token", "token_uri of the service account is wrong"},
		{"private_key", nil, "private_key of the service account is missing"},
		{"private_key", value, "private_key of the service account: is no PEM block"},
		{"private_key", broken, "private_key of the service account: is no key in PKCS #8"},
		{"private_key", testKey() + testKey(), "private_key of the service account: has more than one PEM block"},
		{"private_key", pemOf(t, curve), "private_key of the service account: is no RSA key"},
		{"private_key", pemOf(t, weak), "private_key of the service account: has 1024 bits"},
		{"private_key", []string{value}, "private_key of the service account is no string"},
	} {
		m := members()
		if m[c.member] = c.value; c.value == nil {
			delete(m, c.member)
		}
		_, err := d.Check(secretOf(t, m), channel.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %.30q: got %v, want %q", c.member, fmt.Sprint(c.value), err, c.want)
			continue
		}
		if text := fmt.Sprint(c.value); channeltest.Shows(err.Error(), value) || channeltest.Shows(err.Error(), text) && c.member == "private_key" {
			t.Errorf("%s: %v shows the value", c.member, err)
		}
		if _, err := d.Open(channel.Credential{Secret: secretOf(t, m)}, nil); err == nil {
			t.Errorf("%s: Open takes what Check refuses", c.member)
		}
	}
	for _, text := range []string{"", "{", "[]", `"x"`, "null", "{}", "{} {}", strings.Repeat(" ", maxAccount) + "{}", string(secretOf(t, members())) + "x"} {
		if _, err := d.Check(channel.Secret(text), channel.Options{}); err == nil {
			t.Errorf("%.20q: no error", text)
		}
	}
	m := members()
	m["token_uri"] = "http://127.0.0.1:8089/token"
	if _, err := d.Check(secretOf(t, m), channel.Options{}); err != nil {
		t.Errorf("with the token_uri of the configuration: %v", err)
	}
}

func TestCheckOptions(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	click := func(action, target string) channel.Options {
		return channel.Options{Click: channel.Click{Action: action, Target: target}}
	}
	for want, list := range map[string][]channel.Options{
		"":             {{}, {Package: "com.example.chat", Data: true, ChannelID: "trips"}, click("app", ""), click("url", "https://example.com/x"), click("page", "OPEN_TRIP")},
		"click.action": {click("delete", "x")},
		"click.target": {click("page", ""), click("url", ""), click("url", "javascript:alert(1)"), click("url", "example.com"), click("url", "https://example.com/"+strings.Repeat("x", maxClick))},
		"package":      {{Package: strings.Repeat("x", 256)}},
		"channel_id":   {{ChannelID: strings.Repeat("x", 256)}},
	} {
		for _, o := range list {
			_, err := d.Check(secretOf(t, members()), o)
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
				t.Errorf("%.80q: got %v, want %q", fmt.Sprint(o), err, want)
			}
		}
	}
}

func TestNew(t *testing.T) {
	for want, list := range map[string][]Options{
		"":            {{}, {BaseURL: "http://127.0.0.1:8089"}, {BaseURL: "http://[::1]:1/x/"}, {BaseURL: "http://localhost:1"}, {Timeout: 10 * time.Second}, {Rate: -1}},
		"base URL":    {{BaseURL: "http://fcm.example.com"}, {BaseURL: "fcm.example.com"}, {BaseURL: "https://u:p@example.com"}, {BaseURL: "https://example.com?x=1"}, {BaseURL: "ftp://127.0.0.1"}, {BaseURL: "://"}},
		"token URL":   {{TokenURL: "http://10.0.0.1/token"}},
		"timeout":     {{Timeout: 9 * time.Second}, {Timeout: -1}},
		"connections": {{Connections: -1}},
	} {
		for _, o := range list {
			_, err := New(o)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%+v: got %v, want %q", o, err, want)
			}
		}
	}
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l := d.Limits(channel.Options{}); l.Rate != 10000 || l.Ramp != time.Minute || l.MinRetry != 10*time.Second {
		t.Errorf("limits %+v", l)
	}
}
