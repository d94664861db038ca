package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
)

// A fakeDriver takes credentials that are JSON with a project, and answers tests as it is
// told. It notes what it is handed.
type fakeDriver struct {
	channel.Driver
	health channel.Health
	err    error         // of a test
	ends   time.Time     // of every credential
	hold   chan struct{} // if any: a test waits for it
	tested []channel.Credential
	closed int
}

func (d *fakeDriver) Check(secret channel.Secret, o channel.Options) (channel.Facts, error) {
	var account struct {
		Project string `json:"project"`
	}
	if err := json.Unmarshal(secret, &account); err != nil {
		return channel.Facts{}, errors.New("it is not JSON")
	}
	if account.Project == "" {
		return channel.Facts{}, errors.New("project is missing")
	}
	if o.Package == "refused" {
		return channel.Facts{}, errors.New("package cannot be refused")
	}
	return channel.Facts{Hint: "project " + account.Project, Ends: d.ends}, nil
}

func (d *fakeDriver) Open(c channel.Credential, _ *channel.Pace) (channel.Sender, error) {
	d.tested = append(d.tested, c)
	return &fakeSender{d: d}, nil
}

type fakeSender struct {
	channel.Sender
	d *fakeDriver
}

func (s *fakeSender) Test(ctx context.Context) (channel.Health, error) {
	if s.d.hold != nil {
		<-s.d.hold
	}
	return s.d.health, s.d.err
}

func (s *fakeSender) Clock() time.Duration { return 2 * time.Second }

func (s *fakeSender) Close() error {
	s.d.closed++
	return nil
}

// secretOf returns a credential for the project, with a mark that is nowhere else.
func secretOf(project string) []byte {
	return fmt.Appendf(nil, `{"project":%q,"private_key":"%s"}`, project, mark)
}

const mark = "MARKED-PRIVATE-KEY-0123456789"

// newChannels returns a service with a driver and a key.
func newChannels(t *testing.T) (*Service, *fakeDriver) {
	t.Helper()
	s := newService(t)
	d := &fakeDriver{health: channel.Health{OK: true, Words: "fine", Took: 20 * time.Millisecond}}
	s.Drivers = channel.Drivers{channel.FCM: d}
	var err error
	if s.Key, err = credential.Parse(credential.NewText()); err != nil {
		t.Fatal(err)
	}
	return s, d
}

// do does an operation through its row.
func do[In, Out any](t *testing.T, s *Service, op Op[In, Out], in In) (out Out, err error) {
	t.Helper()
	request, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	if err := s.Do(t.Context(), string(op), request, nil, &Answer{Writer: &answer}); err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out, nil
}

func add(t *testing.T, s *Service, in NewCertificateRequest) Certificate {
	t.Helper()
	in.ID, in.Provider = appID, channel.FCM
	c, err := do(t, s, AddCertificate, in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// opened returns the credential of a certificate as a sender gets it.
func opened(t *testing.T, s *Service, certificate int) channel.Credential {
	t.Helper()
	c, err := s.Key.Open(appID, s.Apps.App(appID).Certificate(certificate))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificateLife(t *testing.T) {
	s, d := newChannels(t)
	d.ends = time.Now().Add(90 * 24 * time.Hour).UTC().Truncate(time.Second)
	c := add(t, s, NewCertificateRequest{Name: "android", Options: channel.Options{Package: "com.example"}, Secret: secretOf("one")})
	if c.ID != 1 || c.Hint != "project one" || c.State != Usable || !c.Ends.Equal(d.ends) || c.Health == nil || c.Health.Words != "fine" {
		t.Errorf("a new certificate is %+v", c)
	}
	if len(d.tested) != 1 || !bytes.Equal(d.tested[0].Secret, secretOf("one")) || d.closed != 1 {
		t.Errorf("%d credentials were tried out, %d senders closed", len(d.tested), d.closed)
	}
	if got := opened(t, s, 1); !bytes.Equal(got.Secret, secretOf("one")) || got.Options.Package != "com.example" || got.Certificate != 1 || got.App != appID {
		t.Errorf("it opens as %+v", got)
	}

	d.ends = time.Now().Add(10 * 24 * time.Hour)
	c, err := do(t, s, ReplaceCertificate, ReplaceRequest{ID: appID, Certificate: 1, Secret: secretOf("two")})
	if err != nil || c.Version != 2 || c.Hint != "project two" || c.State != Ending || c.Options.Package != "com.example" || c.Name != "android" {
		t.Errorf("after replacing it is %+v, %v", c, err)
	}
	if got := opened(t, s, 1); !bytes.Equal(got.Secret, secretOf("two")) {
		t.Errorf("after replacing it opens as %+v", got)
	}

	c, err = do(t, s, SetCertificate, SetCertificateRequest{ID: appID, Certificate: 1, Name: new("phones"), Options: &channel.Options{Data: true}})
	if err != nil || c.Name != "phones" || !c.Options.Data || c.Options.Package != "" || c.Version != 2 {
		t.Errorf("after a change of options it is %+v, %v", c, err)
	}
	if _, err = do(t, s, SetCertificate, SetCertificateRequest{ID: appID, Certificate: 1, Options: &channel.Options{Package: "refused"}}); err == nil {
		t.Error("options that the provider does not take are kept")
	}

	test, err := do(t, s, TestCertificate, CertificateRequest{ID: appID, Certificate: 1})
	if err != nil || !test.OK || test.Words != "fine" || test.Took != 20*time.Millisecond || test.Clock != 2*time.Second {
		t.Errorf("a test says %+v, %v", test, err)
	}

	used := 0
	s.CertificateUse = func(_ context.Context, id uint32, certificate int) (int, error) {
		if id != appID || certificate != 1 {
			t.Errorf("asked for devices of certificate %d of app %d", certificate, id)
		}
		return used, nil
	}
	used = 3
	if c, err = do(t, s, ShowCertificate, CertificateRequest{ID: appID, Certificate: 1}); err != nil || c.Devices == nil || *c.Devices != 3 {
		t.Errorf("show says %+v, %v", c, err)
	}
	if _, err = do(t, s, RemoveCertificate, RemoveCertificateRequest{ID: appID, Certificate: 1}); err == nil || !strings.Contains(err.Error(), "3 devices name certificate 1") {
		t.Errorf("removing what devices name: %v", err)
	}
	if _, err = do(t, s, RemoveCertificate, RemoveCertificateRequest{ID: appID, Certificate: 1, Used: true}); err != nil {
		t.Error(err)
	}
	if list, err := do(t, s, ListCertificates, AppRequest{appID}); err != nil || len(list) != 0 {
		t.Errorf("after removing there are %+v, %v", list, err)
	}
}

// TestRefusedCredentials: what cannot be used is refused with a reason, and changes
// nothing, whether it is new or replaces one that works.
func TestRefusedCredentials(t *testing.T) {
	s, d := newChannels(t)
	add(t, s, NewCertificateRequest{Name: "android", Secret: secretOf("one")})
	before := s.Apps.App(appID)
	for _, c := range []struct {
		name   string
		change func(in *NewCertificateRequest)
		want   string
	}{
		{"empty", func(in *NewCertificateRequest) { in.Secret = nil }, "has 1 to 16384 bytes, this one has 0"},
		{"too large", func(in *NewCertificateRequest) { in.Secret = make([]byte, credential.MaxBytes+1) }, "this one has 16385"},
		{"no JSON", func(in *NewCertificateRequest) { in.Secret = []byte(mark) }, "it is not JSON"},
		{"NUL", func(in *NewCertificateRequest) { in.Secret = []byte("\x00") }, "it is not JSON"},
		{"incomplete", func(in *NewCertificateRequest) { in.Secret = []byte(`{"private_key":"` + mark + `"}`) }, "project is missing"},
		{"options", func(in *NewCertificateRequest) { in.Options.Click.Action = "dance" }, `click.action "dance" is none of`},
		{"long option", func(in *NewCertificateRequest) { in.Options.Package = strings.Repeat("x", 5000) }, "package has 5000 bytes"},
		{"click", func(in *NewCertificateRequest) { in.Options.Click = channel.Click{Action: "url", Target: "x"} }, "is not a URL"},
		{"environment", func(in *NewCertificateRequest) { in.Options.Environment = "prod" }, "neither production nor sandbox"},
		{"options of the provider", func(in *NewCertificateRequest) { in.Options.Package = "refused" }, "package cannot be refused"},
		{"ended", func(*NewCertificateRequest) { d.ends = time.Now().Add(-time.Hour) }, "the credential ended at"},
		{"refused", func(*NewCertificateRequest) { d.health = channel.Health{Words: "who is that?"} }, "fcm refuses the credential: who is that?"},
		{"not reached", func(*NewCertificateRequest) { d.err = errors.New("no route") }, "could not be tried out, and nothing has changed (--offline does without the test): no route"},
		{"no key", func(*NewCertificateRequest) { s.Key = credential.Missing(errors.New("the file is gone")) }, "no credential can be stored: the file is gone"},
	} {
		key := s.Key
		in := NewCertificateRequest{ID: appID, Provider: channel.FCM, Secret: secretOf("two")}
		c.change(&in)
		_, err := do(t, s, AddCertificate, in)
		if _, ok := errors.AsType[*app.Error](err); !ok || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), mark) {
			t.Errorf("%s: adding: %v, want %q", c.name, err, c.want)
		}
		_, err = do(t, s, ReplaceCertificate, ReplaceRequest{ID: appID, Certificate: 1, Options: &in.Options, Secret: in.Secret})
		if _, ok := errors.AsType[*app.Error](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: replacing: %v, want %q", c.name, err, c.want)
		}
		s.Key, d.ends, d.err, d.health = key, time.Time{}, nil, channel.Health{OK: true}
	}
	for _, in := range []NewCertificateRequest{
		{ID: appID, Provider: channel.FCM, Name: "android", Secret: secretOf("two")},
		{ID: appID, Provider: channel.FCM, Name: strings.Repeat("x", 101), Secret: secretOf("two")},
		{ID: appID, Provider: channel.FCM, Name: "a\x00b", Secret: secretOf("two")},
		{ID: appID, Provider: channel.APNs, Secret: secretOf("two")},
		{ID: appID, Provider: channel.Provider(strings.Repeat("x", 1000)), Secret: secretOf("two")},
	} {
		tested := len(d.tested)
		if _, err := do(t, s, AddCertificate, in); err == nil || len(err.Error()) > 300 || len(d.tested) != tested {
			t.Errorf("%+v: %v, and %d tests", in, err, len(d.tested)-tested)
		}
	}
	if s.Apps.App(appID) != before {
		t.Error("the app has changed")
	}
	d.err = errors.New("no route")
	if c, err := do(t, s, AddCertificate, NewCertificateRequest{ID: appID, Provider: channel.FCM, Secret: secretOf("two"), Offline: true}); err != nil || c.Health != nil {
		t.Errorf("offline: %+v, %v", c, err)
	}
}

// TestOldCredentialServesUntilReplaced: while a new credential is tried out the old one is
// used, and nobody sees one half of the change.
func TestOldCredentialServesUntilReplaced(t *testing.T) {
	s, d := newChannels(t)
	add(t, s, NewCertificateRequest{Secret: secretOf("one")})
	d.hold = make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := s.replaceCertificate(context.Background(), ReplaceRequest{ID: appID, Certificate: 1, Secret: secretOf("two")})
		done <- err
	}()
	for range 100 {
		if got := opened(t, s, 1); !bytes.Equal(got.Secret, secretOf("one")) {
			t.Fatal("the new credential is used before it was tried out")
		}
	}
	d.hold <- struct{}{}
	for {
		got := opened(t, s, 1) // it opens at every moment
		select {
		case err := <-done:
			if got = opened(t, s, 1); err != nil || !bytes.Equal(got.Secret, secretOf("two")) {
				t.Errorf("in the end it opens as %s, %v", got.Secret, err)
			}
			return
		default:
		}
	}
}

// TestWrongKeyOfCredentials: with another key, or none, certificates are listed as unusable
// with the reason, and replacing one mends it.
func TestWrongKeyOfCredentials(t *testing.T) {
	s, _ := newChannels(t)
	add(t, s, NewCertificateRequest{Secret: secretOf("one")})
	good := s.Key
	other, err := credential.Parse(credential.NewText())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  *credential.Key
		want string
	}{{other, "was sealed with key " + good.ID()}, {credential.Missing(errors.New("the file is gone")), "the file is gone"}, {nil, "no key of credentials"}} {
		s.Key = c.key
		list, err := do(t, s, ListCertificates, AppRequest{appID})
		if err != nil || list[0].State != Unusable || !strings.Contains(list[0].Reason, c.want) {
			t.Errorf("%+v, %v; want %q", list, err, c.want)
		}
		if _, err := do(t, s, TestCertificate, CertificateRequest{appID, 1}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a test: %v", err)
		}
	}
	s.Key = other
	if c, err := do(t, s, ReplaceCertificate, ReplaceRequest{ID: appID, Certificate: 1, Secret: secretOf("two")}); err != nil || c.State != Usable {
		t.Errorf("after replacing it is %+v, %v", c, err)
	}
}

// TestNoOperationShowsACredential: with a certificate and an AppKey in the app, no
// operation answers, fails or logs with any of them; only those show an AppKey that exist
// for that.
func TestNoOperationShowsACredential(t *testing.T) {
	s, d := newChannels(t)
	var log bytes.Buffer
	s.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Declared = []app.Declaration{{ID: appID, AppKeys: []string{"MARKED-APP-KEY"}}}
	d.err = errors.New("no route")
	add(t, s, NewCertificateRequest{Secret: secretOf("one"), Offline: true})
	if _, err := do(t, s, AddAppKey, NewAppKeyRequest{ID: appID, Secret: "MARKED-APP-KEY"}); err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(secretOf("one"))
	requests := []string{
		fmt.Sprintf(`{"sdkappid":%d,"certificate":1,"key":1,"provider":"fcm","secret":%q,"account":"x"}`, appID, encoded),
		fmt.Sprintf(`{"sdkappid":%d,"certificate":1,"key":1,"secret":%q}`, appID, mark+"*"), // no Base64
		fmt.Sprintf(`{"sdkappid":%d,"certificate":1,"key":1,"provider":%q,"secret":"e30="}`, appID, "fcm"),
		fmt.Sprintf(`{"sdkappid":%d,"certificate":1}`, appID),
		fmt.Sprintf(`{"sdkappid":%d,"app_keys":["MARKED-APP-KEY","x"]}`, appID),
	}
	leaks := func(what, text string) {
		for _, secret := range []string{mark, base64.StdEncoding.EncodeToString([]byte(mark))[:20], encoded[:20], "MARKED-APP-KEY"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s: %s", what, secret, text)
			}
		}
	}
	for _, o := range Operations() {
		for _, request := range requests {
			switch {
			case o.Stream && o.Name != "users/export", o.Name == "channel/remove", o.Name == "appkey/remove":
				continue
			case o.Name == "key/add", o.Name == "appkey/add", o.Name == "appkey/reveal":
				continue // they show what they were given
			}
			if o.Name == "channel/add" || o.Name == "channel/replace" {
				request = strings.Replace(request, "}", `,"offline":true}`, 1)
			}
			var out bytes.Buffer
			err := s.Do(t.Context(), o.Name, []byte(request), strings.NewReader(""), &Answer{Writer: &out})
			leaks("the answer of "+o.Name, out.String())
			leaks("the error of "+o.Name, fmt.Sprintf("%v %+v", err, err))
		}
	}
	a := s.Apps.App(appID)
	leaks("an app printed", fmt.Sprintf("%v %+v %#v", a, a, a))
	leaks("the log", log.String())
	if !strings.Contains(log.String(), "channel/add") || len(a.Certificates) < 2 {
		t.Errorf("nothing was done: %s", &log)
	}
	var revealed bytes.Buffer
	if err := s.Do(t.Context(), string(RevealAppKeys), []byte(requests[0]), nil, &Answer{Writer: &revealed}); err != nil || !strings.Contains(revealed.String(), "MARKED-APP-KEY") {
		t.Errorf("reveal answers %s, %v", &revealed, err)
	}
}
