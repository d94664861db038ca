package cli

import (
	"log/slog"
	"strings"
	"testing"

	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/lsm"
)

// deviceSession is what an operator writes about devices.
const deviceSession = `
device list --app 9
device list --app 9 --json --limit 1
device list --app 9 --limit 1
device list --app 9 --limit -1
device list --app 9 Mary
device list --app 9 nobody
device list --app 8
device show --app 9 phone-of-Mary-123
device show --app 9 phone-of-Mary-123 --json
device show --app 9 Mary
device restore --app 9
device restore --app 9 phone-of-Mary-123
device restore --app 9 phone-of-Mary-123 --task x
device restore --app 9 --task x --json
device restore --app 9 no-such-device-17
device remove --app 9 phone-of-Mary-123
device remove --app 9 phone-of-Mary-123 --yes
device remove --app 9 phone-of-Mary-123 --yes
device list --app 9 Mary
user show --app 9 phone-of-Mary-123
`

// TestDeviceSession: it goes the same way with a server running and without, but for a test
// push, which needs one; and no token is shown.
func TestDeviceSession(t *testing.T) {
	for _, running := range []bool{false, true} {
		dir := newApp(t, false)
		store, err := lsm.Open(dir, lsm.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []device.Device{
			{
				ID: "phone-of-Mary-123", Platform: "ios", Model: "iPhone17,1", System: "iOS", SystemVersion: "26.1", AppVersion: "3.1", Language: "fr-FR", TimeZone: "Europe/Paris", Permission: device.Allowed,
				Tokens: []device.Token{
					{Certificate: 2, Kind: channel.Alert, Address: "a-SECRET-token-a1b2c3", Environment: channel.Sandbox, Topic: "com.example.app"},
					{Certificate: 2, Kind: channel.LiveActivity, LaID: "game-7", Address: "a-SECRET-token-d4e5f6"},
				},
			},
			{ID: "phone-of-nobody-1", Platform: "android", Test: true},
		} {
			if _, err := store.Devices.Register(t.Context(), 9, device.Proof{}, d); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Devices.Bind(t.Context(), 9, device.Proof{Admin: true}, "phone-of-Mary-123", "Mary", true); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if running {
			serve(t, dir)
		}
		want := "there is no server that could send"
		if running {
			want = "cannot be reached: no certificate"
		}
		fails(t, 1, want, "device", "test", "--app", "9", "phone-of-Mary-123", "--data", dir)
		var transcript strings.Builder
		for line := range strings.Lines(strings.TrimSpace(deviceSession)) {
			transcript.WriteString(step(t, strings.TrimSpace(line), dir, ""))
		}
		if strings.Contains(transcript.String(), "SECRET") {
			t.Error("a token is shown")
		}
		golden(t, "device.txt", transcript.String())
	}
}
