package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
	"tidings/internal/config"
)

// A plainDriver takes every credential and calls it good.
type plainDriver struct{ channel.Driver }

func (plainDriver) Check(channel.Secret, channel.Options) (channel.Facts, error) {
	return channel.Facts{Hint: "project x"}, nil
}

// logged is a log that tests read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

const credentialApp = 1400000001

// run starts a server on a data directory, calls f, and stops the server. It returns the log.
func run(t *testing.T, dir string, vars map[string]string, f func(admin.Caller)) string {
	t.Helper()
	all := map[string]string{"TIDINGS_DATA": dir, "TIDINGS_LISTEN": "127.0.0.1:0", "TIDINGS_METRICS_LISTEN": "off"}
	for name, value := range vars {
		all[name] = value
	}
	cfg, err := config.Load(nil, func(name string) (string, bool) { v, ok := all[name]; return v, ok }, "", api.Commands())
	if err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	s, err := Start(t.Context(), cfg, "test", slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	s.control.Drivers = channel.Drivers{channel.FCM: plainDriver{}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	f(s.Control())
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return log.String()
}

// must does an operation that succeeds.
func must[In, Out any](t *testing.T, c admin.Caller, op admin.Op[In, Out], in In) Out {
	t.Helper()
	out, err := op.Do(t.Context(), c, in)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return out
}

const secretMark = "MARKED-PRIVATE-KEY-0123456789"

func addMarked(t *testing.T, c admin.Caller) {
	t.Helper()
	must(t, c, admin.AddCertificate, admin.NewCertificateRequest{ID: credentialApp, Provider: channel.FCM, Offline: true, Secret: []byte(`{"private_key":"` + secretMark + `"}`)})
}

// state returns the state of the first certificate, and the reason.
func state(t *testing.T, c admin.Caller) (admin.CertificateState, string) {
	t.Helper()
	list := must(t, c, admin.ListCertificates, admin.AppRequest{ID: credentialApp})
	return list[0].State, list[0].Reason
}

// TestKeyOfCredentials: the key is made once, privately, and is found again; a server starts
// with a key that is missing, wrong, cut off or no file, says so, and leaves the file alone.
func TestKeyOfCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(dir, KeyFile)
	var text string
	log := run(t, dir, nil, func(c admin.Caller) {
		must(t, c, admin.CreateApp, app.Declaration{ID: credentialApp})
		addMarked(t, c)
		b, err := os.ReadFile(file)
		info, statErr := os.Stat(file)
		if err != nil || statErr != nil || info.Mode().Perm()&0o077 != 0 || len(b) != 65 {
			t.Fatalf("the key is %d bytes, mode %v, %v", len(b), info.Mode(), errors.Join(err, statErr))
		}
		text = string(b)
	})
	key, err := credential.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log, `"made the key that credentials of providers are sealed with"`) || !strings.Contains(log, key.ID()) || strings.Contains(log, text[:16]) {
		t.Errorf("the first start logs %s", log)
	}
	log = run(t, dir, nil, func(c admin.Caller) {
		if s, reason := state(t, c); s != admin.Usable {
			t.Errorf("after a restart it is %s: %s", s, reason)
		}
	})
	if strings.Contains(log, "sealed with") || strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("a restart logs %s", log)
	}

	put := func(text string, mode fs.FileMode) func() {
		return func() {
			if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, reason, log string
		prepare           func()
		mayAdd            bool
	}{
		{"cut off", "it does not hold 64 hexadecimal digits", "there is no key of credentials", put(text[:40], 0o600), false},
		{"empty", "it is empty", "there is no key of credentials", put("", 0o600), false},
		{"large", "it is larger than 1024 bytes", "there is no key of credentials", put(strings.Repeat("0", 1<<20), 0o600), false},
		{"a directory", "it is no file", "there is no key of credentials", func() {
			if err := errors.Join(os.RemoveAll(file), os.Mkdir(file, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"another", "was sealed with key " + key.ID(), "certificates cannot be used", put(credential.NewText(), 0o600), true},
		{"readable by all", "", "every user of this machine can read the key", put(text, 0o644), true},
		{"good again", "", "ready", put(text, 0o600), true},
	} {
		c.prepare()
		before, _ := os.ReadFile(file)
		log := run(t, dir, nil, func(caller admin.Caller) {
			if s, reason := state(t, caller); (s == admin.Usable) != (c.reason == "") || !strings.Contains(reason, c.reason) {
				t.Errorf("%s: it is %s: %s", c.name, s, reason)
			}
			_, err := admin.AddCertificate.Do(t.Context(), caller, admin.NewCertificateRequest{ID: credentialApp, Provider: channel.FCM, Offline: true, Secret: []byte("{}")})
			if (err == nil) != c.mayAdd {
				t.Errorf("%s: adding a certificate: %v", c.name, err)
			}
		})
		if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
			t.Errorf("%s: the file was written over", c.name)
		}
		if !strings.Contains(log, c.log) || strings.Contains(log, text[:16]) {
			t.Errorf("%s: the log is %s", c.name, log)
		}
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, func(c admin.Caller) {
		if s, reason := state(t, c); s != admin.Unusable || !strings.Contains(reason, "was sealed with key "+key.ID()) {
			t.Errorf("without the file it is %s: %s", s, reason)
		}
		must(t, c, admin.ReplaceCertificate, admin.ReplaceRequest{ID: credentialApp, Certificate: 1, Offline: true, Secret: []byte("{}")})
		if s, reason := state(t, c); s != admin.Usable {
			t.Errorf("after replacing it is %s: %s", s, reason)
		}
	})

	configured := filepath.Join(t.TempDir(), "a", "key")
	log = run(t, dir, map[string]string{"TIDINGS_CREDENTIALS_KEY_FILE": configured}, func(c admin.Caller) {
		if s, reason := state(t, c); s != admin.Unusable || !strings.Contains(reason, configured) {
			t.Errorf("without the configured file it is %s: %s", s, reason)
		}
	})
	if _, err := os.Stat(configured); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a configured file: %v", err)
	}
	if !strings.Contains(log, "there is no key of credentials") {
		t.Errorf("without the configured file the log is %s", log)
	}
}

// TestCredentialsOnDisk: nothing of a credential is in any file, nor in the log; the key is
// in its own file alone, and in a backup only if that was asked for.
func TestCredentialsOnDisk(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	back := func(c admin.Caller, name string, key bool) {
		t.Helper()
		answer, err := admin.BackUp.Open(t.Context(), c, admin.BackupRequest{Dir: filepath.Join(root, name), Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer)
		if err := errors.Join(err, answer.Close()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"certificates":1`) || strings.Contains(string(text), `"credentials_key":true`) != key {
			t.Errorf("the backup %s answers %s", name, text)
		}
	}
	log := run(t, dir, nil, func(c admin.Caller) {
		must(t, c, admin.CreateApp, app.Declaration{ID: credentialApp, Name: new("MARKED-NAME")})
		addMarked(t, c)
		must(t, c, admin.ReplaceCertificate, admin.ReplaceRequest{ID: credentialApp, Certificate: 1, Offline: true, Secret: []byte(secretMark)})
		must(t, c, admin.Checkpoint, admin.None{})
		back(c, "without", false)
		back(c, "with", true)
	})
	text, err := os.ReadFile(filepath.Join(dir, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	holders := map[string][]string{}
	marks := map[string]string{"the credential": secretMark, "its Base64": base64.StdEncoding.EncodeToString([]byte(secretMark))[:24], "the key": string(text[:64]), "the name": "MARKED-NAME"}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for what, mark := range marks {
			if bytes.Contains(b, []byte(mark)) {
				name, _ := filepath.Rel(root, path)
				holders[what] = append(holders[what], name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(holders["the credential"])+len(holders["its Base64"]) > 0 || fmt.Sprint(holders["the key"]) != "[data/credentials.key with/credentials.key]" || len(holders["the name"]) < 3 {
		t.Errorf("found %v", holders)
	}
	for what, mark := range marks {
		if what != "the name" && strings.Contains(log, mark) {
			t.Errorf("the log shows %s", what)
		}
	}

	for name, want := range map[string]admin.CertificateState{"with": admin.Usable, "without": admin.Unusable} {
		to := filepath.Join(root, "restored-"+name)
		r, err := Restore(t.Context(), filepath.Join(root, name), to, slog.New(slog.DiscardHandler), RestoreOptions{})
		if err != nil || r.Certificates != 1 || r.Key != (name == "with") {
			t.Fatalf("restoring %s: %+v, %v", name, r, err)
		}
		run(t, to, nil, func(c admin.Caller) {
			if s, reason := state(t, c); s != want {
				t.Errorf("restored %s the key it is %s: %s", name, s, reason)
			}
		})
	}
}
