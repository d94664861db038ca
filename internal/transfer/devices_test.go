package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/transfer"
)

// certified is the app whose devices are carried, with certificates of FCM and APNs.
var certified = &app.App{ID: 1, Certificates: []app.Certificate{{ID: 1, Provider: channel.FCM}, {ID: 2, Provider: channel.APNs}}}

// drivers know which tokens FCM takes.
var drivers = channel.Drivers{channel.FCM: kindsOf{channel.Alert, channel.FID}}

type kindsOf []channel.TokenKind

func (k kindsOf) Kinds() []channel.TokenKind { return k }

func (kindsOf) Limits(channel.Options) (l channel.Limits) { return l }

func (kindsOf) Check(channel.Secret, channel.Options) (f channel.Facts, err error) { return f, nil }

func (kindsOf) Open(channel.Credential, *channel.Pace) (channel.Sender, error) {
	return nil, errors.New("nothing is sent")
}

func deviceStore(t testing.TB) *lsm.Store {
	t.Helper()
	s, err := lsm.Open(t.TempDir(), lsm.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Apps.SaveApp(t.Context(), storetest.NewApp(1)); err != nil {
		t.Fatal(err)
	}
	return s
}

// deviceLines returns lines of devices as other systems hold them.
func deviceLines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"device%010d","user":"user%08d","platform":"android","model":"Pixel 9","system_version":"16","language":"en","permission":"allowed","tokens":[{"certificate":1,"kind":"alert","address":"%022d:APA91b%s"}]}`+"\n", i, i, i, strings.Repeat("x", 135))
	}
	return b.Bytes()
}

// TestDeviceLines: good lines are in, bad ones are reported with their number and why, and
// no report shows a token.
func TestDeviceLines(t *testing.T) {
	s := deviceStore(t)
	const secret = "APA91bSECRET-TOKEN"
	text := func(line string) string { return strings.ReplaceAll(line, "TOKEN", secret) }
	good := []string{
		`{"platform":"ios","language":"EN_us","tokens":[{"certificate":1,"kind":"alert","address":"TOKEN"}]}`,
		``,
		`{"id":"0123456789abcdef","user":"alice","model":null,"registered":"2025-01-02T03:04:05Z"}`,
	}
	bad := []struct{ line, want string }{
		{`{"AttrNames":{"0":"sex"}}`, `member "AttrNames" is not known`},
		{`{"id":"0123456789abcdef","colour":"red"}`, `member "colour" is not known`},
		{`{"ID":"0123456789abcdef"}`, `member "ID" is not known`},
		{`{"id":"0123456789abcdef","id":"0123456789abcdeg"}`, `member "id" stands twice`},
		{`{"id":"0123456789abcdef","last_active":"TOKEN"}`, "last_active is no time as RFC 3339 has it"},
		{`{"id":"0123456789abcdef","badge":10000}`, "badge is 0 to 9999, and not 10000"},
		{`{"id":"0123456789abcdef","badge":1.5}`, "badge: a number does not belong there"},
		{`{"id":"0123456789abcdef","language":"no language"}`, `language is a tag of BCP 47, and not "no language"`},
		{`{"id":"0123456789abcdef","secret_hash":"TOKEN"}`, "secret_hash has 32 hexadecimal digits"},
		{`{"id":"0123456789abcdef"} {}`, "no JSON after"},
		{`{"id":"0123456789abcdef","tokens":[`, "the JSON ends too early"},
		{`{"tokens":"TOKEN"}`, "tokens: a string does not belong there"},
		{`["TOKEN"]`, "a device is an object, and not an array"},
		{"{\"model\":\"\xff\"}", "no JSON after"},
		{`not json TOKEN`, "no JSON after"},
		{`{}`, "neither an id nor a token"},
		{`{"tokens":[{"certificate":0,"kind":"alert","address":"TOKEN"}]}`, "tokens[0]: the device is not valid: certificate is the ID of one"},
		{`{"tokens":[{"certificate":1,"kind":"alert","address":"TOKEN"},{"certificate":7,"kind":"alert","address":"TOKEN"}]}`, "tokens[1]: app 1 has no certificate 7"},
		{`{"tokens":[{"certificate":1,"kind":"voip","address":"TOKEN"}]}`, "certificate 1 is of fcm, which takes no token of kind voip"},
		{`{"tokens":[{"certificate":1,"kind":"alert","address":"TOKEN","environment":"sandbox"}]}`, "only tokens of Apple have an environment"},
		{`{"tokens":[{"certificate":2,"kind":"liveactivity","address":"TOKEN"}]}`, "needs la_id"},
		{`{"tokens":[{"certificate":2,"kind":"alert","address":"TOKEN","la_id":"x"}]}`, "no other has it"},
		{`{"tokens":[{"certificate":2,"kind":"alert","address":"TOKEN TOKEN"}]}`, "a character that no token has"},
		{`{"id":"0123456789abcdef","model":"` + strings.Repeat("x", 70_000) + `"}`, "a line may have 65536"},
	}
	lines := strings.Join(good, "\n")
	for _, b := range bad {
		lines += "\n" + b.line
	}
	lines = text(lines)
	for round, want := range []transfer.Counts{{Users: 2, Created: 2}, {Users: 2, Unchanged: 2}} {
		for _, dryRun := range []bool{true, false} {
			r, err := transfer.ApplyDevices(t.Context(), certified, drivers, s.Devices, transfer.Chunk{App: 1}, dryRun, strings.NewReader(lines))
			if err != nil || r.Counts != want || len(r.Failures) != len(bad) {
				t.Fatalf("round %d: %+v, %v, want %+v", round, r, err, want)
			}
			for i, f := range r.Failures {
				if f.Line != len(good)+i || !strings.Contains(f.Reason, bad[i].want) {
					t.Errorf("line %d, %.100s: %+v, want %q", f.Line, bad[i].line, f, bad[i].want)
				}
			}
			if text := fmt.Sprint(r.Failures); strings.Contains(text, "SECRET") {
				t.Errorf("a failure shows a token: %s", text)
			}
		}
	}
	if n, err := s.Devices.Count(t.Context(), 1); n != 2 || err != nil {
		t.Errorf("there are %d devices, %v", n, err)
	}
	var out, again bytes.Buffer
	if err := transfer.WriteDevices(t.Context(), s.Devices, 1, &out); err != nil || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), secret) || !strings.Contains(out.String(), `"language":"en-US"`) {
		t.Fatalf("%v: %s", err, out.String())
	}
	other := deviceStore(t)
	if r, err := transfer.ApplyDevices(t.Context(), certified, nil, other.Devices, transfer.Chunk{App: 1}, false, bytes.NewReader(out.Bytes())); err != nil || r.Created != 2 || len(r.Failures) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := transfer.WriteDevices(context.Background(), other.Devices, 1, &again); err != nil {
		t.Fatal(err)
	}
	if out.String() != again.String() {
		t.Errorf("it was\n%s\nand is\n%s", out.String(), again.String())
	}
}

// BenchmarkDeviceImport imports devices with a token and a user each, in chunks.
func BenchmarkDeviceImport(b *testing.B) {
	const chunk = 20_000
	lines := deviceLines(chunk)
	for b.Loop() {
		b.StopTimer()
		s := deviceStore(b)
		b.StartTimer()
		if r, err := transfer.ApplyDevices(b.Context(), certified, drivers, s.Devices, transfer.Chunk{App: 1}, false, bytes.NewReader(lines)); err != nil || r.Created != chunk {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(chunk*b.N)/b.Elapsed().Seconds(), "devices/s")
}
