package transfer_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/transfer"
)

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
	lines := strings.Join([]string{
		`{"platform":"ios","tokens":[{"certificate":1,"kind":"alert","address":"` + secret + `"}]}`,
		``,
		`{"id":"0123456789abcdef","user":"alice","registered":"2025-01-02T03:04:05Z"}`,
		`{"id":"0123456789abcdef","colour":"red"}`,
		`{"id":"0123456789abcdef","tokens":[{"certificate":0,"kind":"alert","address":"` + secret + `"}]}`,
		`{"id":"0123456789abcdef","last_active":"` + secret + `"}`,
		`{"id":"0123456789abcdef"} {}`,
		`{"tokens":"` + secret + `"}`,
		`not json ` + secret,
		`{}`,
	}, "\n")
	for round, want := range []transfer.Counts{{Users: 2, Created: 2}, {Users: 2, Unchanged: 2}} {
		for _, dryRun := range []bool{true, false} {
			r, err := transfer.ApplyDevices(t.Context(), s.Devices, transfer.Chunk{App: 1}, dryRun, strings.NewReader(lines))
			if err != nil || r.Counts != want || len(r.Failures) != 7 || r.Failures[0].Line != 3 {
				t.Fatalf("round %d: %+v, %v, want %+v", round, r, err, want)
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
	if err := transfer.WriteDevices(t.Context(), s.Devices, 1, &out); err != nil || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), secret) {
		t.Fatalf("%v: %s", err, out.String())
	}
	other := deviceStore(t)
	if r, err := transfer.ApplyDevices(t.Context(), other.Devices, transfer.Chunk{App: 1}, false, bytes.NewReader(out.Bytes())); err != nil || r.Created != 2 || len(r.Failures) > 0 {
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
		if r, err := transfer.ApplyDevices(b.Context(), s.Devices, transfer.Chunk{App: 1}, false, bytes.NewReader(lines)); err != nil || r.Created != chunk {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(chunk*b.N)/b.Elapsed().Seconds(), "devices/s")
}
