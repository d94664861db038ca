package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/lsm"
	"tidings/internal/transfer"
)

// newCertifiedApp makes app 9 with certificate 1 of FCM and 2 of APNs in a directory of its
// own, served if running.
func newCertifiedApp(t *testing.T, running bool) string {
	t.Helper()
	dir := newApp(t, false)
	store, err := lsm.Open(dir, lsm.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := app.Open(t.Context(), store.Apps, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []channel.Provider{channel.FCM, channel.APNs} {
		if _, err := apps.AddCertificate(t.Context(), 9, app.Certificate{Provider: p}, func(_, _ int) ([]byte, error) { return []byte("sealed"), nil }); err != nil {
			t.Fatal(err)
		}
	}
	apps.Close()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if running {
		serve(t, dir)
	}
	return dir
}

// movedDevice returns device i of a file. Those of Apple have a value in every field.
func movedDevice(i int) *device.Moved {
	day := time.Unix(1_760_000_000, 0).UTC().Add(time.Duration(i) * time.Minute)
	m := &device.Moved{Device: device.Device{
		ID: fmt.Sprintf("installation-%06d", i), Version: 1, Platform: "android", Model: "Pixel 9", Language: []string{"de", "fr-FR", "zh-Hant-TW"}[i%3],
		Registered: day, LastActive: day.Add(time.Hour),
		Tokens: []device.Token{{Certificate: 1, Kind: channel.Alert, Address: channel.Address(fmt.Sprintf("fcm-SECRET<&>:%06d", i)), Registered: day, Refreshed: day}},
	}}
	if i%2 == 0 {
		return m
	}
	m.User, m.Platform, m.Model, m.System, m.SystemVersion = fmt.Sprintf("user%d", i/8), "ios", "iPhone17,1", "iOS", "26.1"
	m.SDKVersion, m.PushVersion, m.AppVersion, m.TimeZone = "1.2.3", "4.5", "3.1 (ü)", "Europe/Paris"
	m.Permission, m.Test, m.Badge = device.Allowed, true, 1+i%device.MaxBadge
	m.SecretHash = fmt.Sprintf("%032x", i)
	m.Tokens = []device.Token{
		{Certificate: 2, Kind: channel.LiveActivity, LaID: "game-7", Address: channel.Address(fmt.Sprintf("la-SECRET-%06d", i)), Environment: channel.Sandbox, Topic: "com.example.app", Expires: day.Add(100_000 * time.Hour), Registered: day.Add(time.Minute), Refreshed: day.Add(2 * time.Minute)},
		{Certificate: 2, Kind: channel.Alert, Address: channel.Address(fmt.Sprintf("apns-SECRET-%06d", i)), Environment: channel.Production, Registered: day, Refreshed: day},
	}
	return m
}

// fieldsUnset returns the fields of a struct, and of those in it, that are zero.
func fieldsUnset(v reflect.Value) (names []string) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.IsZero():
			names = append(names, v.Type().Field(i).Name)
		case f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]():
			names = append(names, fieldsUnset(f)...)
		case f.Kind() == reflect.Slice:
			names = append(names, fieldsUnset(f.Index(0))...)
		}
	}
	return names
}

// TestDeviceRoundTrip: two thousand devices are the same after an import and an export, on
// a server and without, and so from one to the other.
func TestDeviceRoundTrip(t *testing.T) {
	if unset := fieldsUnset(reflect.ValueOf(*movedDevice(1))); len(unset) > 0 {
		t.Fatalf("%v are not tested", unset)
	}
	const n = 2000
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for i := range n {
		if err := enc.Encode(movedDevice(i)); err != nil {
			t.Fatal(err)
		}
	}
	file := write(t, "devices.ndjson", lines.String())
	for _, running := range []bool{false, true} {
		dir := newCertifiedApp(t, running)
		for _, want := range []transfer.Counts{{Users: n, Created: n}, {Users: n, Unchanged: n}} {
			for _, dryRun := range []bool{true, false} {
				var s deviceSummary
				out := must(t, "device", "import", "--app", "9", file, "--data", dir, "--json", fmt.Sprintf("--dry-run=%t", dryRun))
				if err := json.Unmarshal([]byte(out), &s); err != nil || (transfer.Counts{Users: s.Devices, Created: s.Created, Changed: s.Changed, Unchanged: s.Unchanged}) != want || s.Lines != n || s.Bad != 0 || s.DryRun != dryRun {
					t.Fatalf("running %t: %s, %v, want %+v", running, out, err, want)
				}
			}
		}
		out := filepath.Join(t.TempDir(), "out.ndjson.gz")
		r := tidings(t, "device", "export", "--app", "9", "--data", dir, "--output", out)
		if info, err := os.Stat(out); r.code != 0 || err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(r.stderr, "2 000 devices exported in ") || strings.Contains(r.stderr, "SECRET") {
			t.Fatalf("running %t: %+v, %v, %v", running, r, info, err)
		}
		other := newCertifiedApp(t, !running)
		if got := must(t, "device", "import", "--app", "9", out, "--data", other); !strings.Contains(got, "2 000 devices imported in ") {
			t.Errorf("says %s", got)
		}
		for _, dir := range []string{dir, other} {
			if got := must(t, "device", "export", "--app", "9", "--data", dir); got != lines.String() {
				t.Errorf("running %t: %s", running, firstDifference(got, lines.String()))
			}
		}
		if got := must(t, "device", "show", "--app", "9", movedDevice(1).ID, "--data", other); !strings.Contains(got, "user0") || strings.Contains(got, "SECRET") {
			t.Errorf("shows %s", got)
		}
	}
}

// TestDeviceImportBadLines: a file of a stranger takes no good line along, and no report
// shows a token.
func TestDeviceImportBadLines(t *testing.T) {
	good := `{"id":"a-good-device-0001","tokens":[{"certificate":1,"kind":"alert","address":"SECRET-1"}]}`
	lines := []struct{ line, want string }{
		{`{"AttrNames":{"0":"sex"}}`, `member "AttrNames" is not known`},
		{good, ""},
		{``, ""},
		{strings.ReplaceAll(good, `"certificate":1`, `"certificate":3`), "app 9 has no certificate 3"},
		{strings.ReplaceAll(good, "alert", "ALERT"), `kind is one of`},
		{strings.ReplaceAll(good, `"id"`, `"user":"a-good-device-0001","id"`), "a-good-device-0001"},
		{`{"id":"administrator","user":"x"}`, "a RegistrationID has 16 to 64 bytes"},
		{`{"id":"a-good-device-0002","user":"` + strings.Repeat("x", 33) + `"}`, "33 bytes"},
		{`{"id":"a-good-device-0002","tokens":[` + strings.Repeat(`{"certificate":1,"kind":"alert","address":"SECRET-2"},`, 8) + `{"certificate":2,"kind":"alert","address":"SECRET-2"}]}`, "at most 8 tokens"},
		{`{"id":"a-good-device-0002","badge":18446744073709551616}`, "badge: a number does not belong there"},
		{`{"id":"a-good-device-0002","user":"你好"}`, "user: "},
		{strings.Repeat("[", 60_000), "a device is an object, and not an array"},
		{strings.Repeat("x", 70_000), "it is longer than 65536 bytes"},
		{"\x00\xff", "no JSON"},
		{`To_Account,Tags`, "no JSON"},
		{strings.ReplaceAll(good, "0001", "0003"), ""}, // the token moves
		{`{"tokens":[{"certificate":2,"kind":"alert","address":"SECRET-4","expires":"0000-00-00T00:00:00Z"}]}`, "tokens.0.expires is no time"},
	}
	var text strings.Builder
	bad := 0
	for _, l := range lines {
		text.WriteString(l.line + "\n")
		if l.want != "" {
			bad++
		}
	}
	for _, running := range []bool{false, true} {
		dir := newCertifiedApp(t, running)
		file := filepath.Join(t.TempDir(), "bad.ndjson")
		r := shell{}.run(t.Context(), zipped(t, text.String()), "device", "import", "--app", "9", "-", "--data", dir, "--errors", file)
		if r.code != 1 || !strings.Contains(r.stdout, fmt.Sprintf(" a second: 2 new, 0 changed, 0 unchanged; %d lines, %d bad.\n", len(lines), bad)) {
			t.Errorf("exit code %d, %q", r.code, r.stdout)
		}
		report, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		told := map[int]transfer.Failure{}
		for line := range bytes.Lines(report) {
			var f transfer.Failure
			if err := json.Unmarshal(line, &f); err != nil {
				t.Fatal(err)
			}
			told[f.Line] = f
		}
		for i, l := range lines {
			f, isBad := told[i+1]
			if isBad != (l.want != "") || !strings.Contains(f.Reason, l.want) {
				t.Errorf("running %t: line %d, %.100s: %+v, want %q", running, i+1, l.line, f, l.want)
			}
			if isBad && !strings.Contains(r.stderr, fmt.Sprintf("tidings: line %d", i+1)) {
				t.Errorf("line %d is not on standard error:\n%s", i+1, r.stderr)
			}
		}
		if all := r.stdout + r.stderr + string(report); strings.Contains(all, "SECRET") {
			t.Errorf("a token is shown:\n%s", all)
		}
		got := must(t, "device", "export", "--app", "9", "--data", dir)
		if strings.Count(got, "\n") != 2 || strings.Count(got, "SECRET-1") != 1 || strings.Contains(got, "SECRET-2") {
			t.Errorf("there are\n%s", got)
		}
	}
}

// TestDeviceImportResumes interrupts an import and starts it again; a note of devices is
// none of users.
func TestDeviceImportResumes(t *testing.T) {
	const n = 60_000
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"tokens":[{"certificate":%d,"kind":"alert","address":"token-%06d"}]}`+"\n", 1+2*(i/(n-1)+max(0, 1-max(i-10, 10-i))), i)
	}
	dir := newCertifiedApp(t, false)
	file := write(t, "devices.ndjson", text.String())
	args := []string{"device", "import", "--app", "9", file, "--data", dir, "--json"}
	ctx, cancel := context.WithCancel(t.Context())
	out, stderr := new(buffer), &hook{text: "line 11, ", do: cancel}
	code := exitCode(run(ctx, args, strings.NewReader(""), out, stderr, shell{}.lookup))
	if code != 1 || !strings.Contains(stderr.String(), "interrupted; all lines up to 50 000 are done; start the same import again to go on from there") {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	note := file + transfer.NoteSuffix
	kept, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	if r := tidings(t, "import", "--app", "9", file, "--data", dir, "--max-bad", "1"); r.code != 1 || !strings.Contains(r.stderr, "is about an import with other flags, beginning anew") {
		t.Errorf("as users: %.500s", r.stderr)
	}
	if err := os.WriteFile(note, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	r := tidings(t, args...)
	var s deviceSummary
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || r.code != 1 || s.Resumed != 50_000 || s.Lines != n-50_000 || s.Bad != 1 || s.Created != n-50_000-1 || !strings.Contains(r.stderr, "going on after line 50 000 of ") {
		t.Errorf("again: %+v, %v", r, err)
	}
	if got := strings.Count(must(t, "device", "export", "--app", "9", "--data", dir), "\n"); got != n-2 {
		t.Errorf("%d devices of %d are in", got, n-2)
	}
	if _, err := os.Stat(note); err == nil {
		t.Error("the note is left")
	}
}

// TestDeviceTransferMistakes: what is asked wrongly leaves no file, and is said.
func TestDeviceTransferMistakes(t *testing.T) {
	dir := newCertifiedApp(t, false)
	folder := t.TempDir()
	none := filepath.Join(folder, "none", "d.ndjson")
	fails(t, 1, "app 8 does not exist", "device", "export", "--app", "8", "--data", dir, "--output", filepath.Join(folder, "d.ndjson"))
	fails(t, 1, " "+none+": no such file", "device", "export", "--app", "9", "--data", dir, "--output", none)
	fails(t, 1, "app 8 does not exist", "device", "import", "--app", "8", write(t, "d", ""), "--data", dir)
	fails(t, 1, "no such file", "device", "import", "--app", "9", none, "--data", dir)
	fails(t, exitUsage, "unknown flag: --replace", "device", "import", "--app", "9", none, "--replace", "--data", dir)
	fails(t, exitUsage, "--max-bad -1 is less than 0", "device", "import", "--app", "9", none, "--max-bad", "-1", "--data", dir)
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("leaves %v, %v", left, err)
	}
}
