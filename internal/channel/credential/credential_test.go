package credential_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
)

const text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func key(t testing.TB, text string) *credential.Key {
	t.Helper()
	k, err := credential.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var place = credential.Place{App: 1400000001, Certificate: 7, Provider: channel.FCM, Version: 2}

func certificate(sealed []byte) *app.Certificate {
	return &app.Certificate{ID: 7, Provider: channel.FCM, Version: 2, Options: channel.Options{Package: "com.example"}, Sealed: sealed}
}

// TestSeal: what was sealed opens in its place and with its key, and nowhere else, and is
// another text each time.
func TestSeal(t *testing.T) {
	k := key(t, text)
	secret := channel.Secret(`{"private_key":"very secret"}`)
	sealed, err := k.Seal(place, secret)
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Seal(place, secret)
	if err != nil || bytes.Equal(sealed[9:], again[9:]) {
		t.Errorf("sealed twice it is the same, %v", err)
	}
	c, err := k.Open(place.App, certificate(sealed))
	if err != nil || !bytes.Equal(c.Secret, secret) || c.App != place.App || c.Certificate != 7 || c.Options.Package != "com.example" {
		t.Errorf("Open = %+v, %v", c, err)
	}
	for name, change := range map[string]func(c *app.Certificate, id *uint32){
		"app":         func(_ *app.Certificate, id *uint32) { *id++ },
		"certificate": func(c *app.Certificate, _ *uint32) { c.ID++ },
		"provider":    func(c *app.Certificate, _ *uint32) { c.Provider = channel.APNs },
		"version":     func(c *app.Certificate, _ *uint32) { c.Version-- },
	} {
		c, id := certificate(sealed), place.App
		change(c, &id)
		if _, err := k.Open(id, c); !errors.Is(err, credential.ErrDamaged) {
			t.Errorf("with another %s: %v", name, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err := k.Open(place.App, certificate(bad))
		_, wrong := errors.AsType[*credential.WrongKey](err)
		if want := i >= 1 && i < 9; err == nil || wrong != want || i >= 9 && !errors.Is(err, credential.ErrDamaged) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
		if _, err := k.Open(place.App, certificate(sealed[:i])); err == nil {
			t.Errorf("cut to %d bytes it opens", i)
		}
	}
}

// TestWrongKey: another key is told from damage, by ids that everybody may see.
func TestWrongKey(t *testing.T) {
	k, other := key(t, text), key(t, strings.Replace(text, "00", "01", 1))
	sealed, err := k.Seal(place, channel.Secret("secret"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Open(place.App, certificate(sealed))
	wrong, ok := errors.AsType[*credential.WrongKey](err)
	if !ok || wrong.Sealed != k.ID() || wrong.Have != other.ID() || k.ID() == other.ID() || len(k.ID()) != 16 {
		t.Errorf("with another key: %v", err)
	}
	why := errors.New("the file is gone")
	for _, none := range []*credential.Key{credential.Missing(why), nil} {
		if none != nil && !errors.Is(none.Err(), why) || none.Err() == nil || none.ID() != "none" {
			t.Errorf("without a key: %v, %s", none.Err(), none.ID())
		}
		if _, err := none.Open(place.App, certificate(sealed)); !errors.Is(err, none.Err()) && none != nil || err == nil {
			t.Errorf("without a key: %v", err)
		}
		if _, err := none.Seal(place, channel.Secret("secret")); err == nil {
			t.Error("without a key something is sealed")
		}
	}
}

func TestParse(t *testing.T) {
	for _, good := range []string{text, text + "\n", " " + strings.ToUpper(text) + "\r\n", credential.NewText()} {
		if k := key(t, good); k.Err() != nil {
			t.Error(k.Err())
		}
	}
	if one, other := credential.NewText(), credential.NewText(); one == other {
		t.Error("two new keys are the same")
	}
	for _, bad := range []string{"", " \n", text[1:], text + "00", text[:62], "x" + text[1:], strings.Repeat("0", 64), text[:32] + "\x00" + text[33:]} {
		if _, err := credential.Parse(bad); err == nil || len(bad) > 8 && strings.Contains(err.Error(), bad[1:9]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestKeyIsHidden: no way to print a key, or to write it as JSON, shows it.
func TestKeyIsHidden(t *testing.T) {
	k := key(t, text)
	encoded, err := json.Marshal(struct{ Key *credential.Key }{k})
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %x %s", k, k, k, k, k, encoded) + k.LogValue().String()
	if strings.Contains(shown, text[:16]) || strings.Contains(shown, "1 2 3 4 5") || strings.Contains(shown, "AAECAw") {
		t.Errorf("the key shows: %s", shown)
	}
	if !strings.Contains(shown, k.ID()) {
		t.Errorf("the id does not show: %s", shown)
	}
}

func TestSizes(t *testing.T) {
	k := key(t, text)
	for size, good := range map[int]bool{0: false, 1: true, credential.MaxBytes: true, credential.MaxBytes + 1: false} {
		if _, err := k.Seal(place, make(channel.Secret, size)); (err == nil) != good {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestGolden: what the first version of this package sealed opens for ever.
func TestGolden(t *testing.T) {
	sealed, err := hex.DecodeString("015f32f6c8adfa875a9309460eea60f216b95f93202f5d6afaed702b53cf882aab2e3896a988ef33136a1c")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := key(t, text).Open(place.App, certificate(sealed)); err != nil || string(c.Secret) != "golden" {
		t.Errorf("it opens as %d bytes, %v", len(c.Secret), err)
	}
}

// FuzzOpen: what nobody sealed does not open, and its error shows nothing of it.
func FuzzOpen(f *testing.F) {
	k := key(f, text)
	sealed, err := k.Seal(place, channel.Secret("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte{1})
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := k.Open(place.App, certificate(b)); err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("%x opens as %d bytes", b, len(c.Secret))
		}
	})
}
