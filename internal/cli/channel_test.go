package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
	"tidings/internal/control"
	"tidings/internal/store/lsm"
)

// A pigeon is a provider that takes credentials which begin with "good", as the second
// word of each says.
type pigeon struct{ channel.Driver }

func (pigeon) Check(secret channel.Secret, _ channel.Options) (channel.Facts, error) {
	words := strings.Fields(string(secret))
	if len(words) < 2 || words[0] != "good" {
		return channel.Facts{}, errors.New("it is not one of a pigeon")
	}
	return channel.Facts{Hint: "loft " + words[1]}, nil
}

func (pigeon) Open(c channel.Credential, _ *channel.Pace) (channel.Sender, error) {
	return loft{words: strings.Fields(string(c.Secret))}, nil
}

type loft struct {
	channel.Sender
	words []string
}

func (l loft) Test(context.Context) (channel.Health, error) {
	switch l.words[1] {
	case "closed":
		return channel.Health{Words: "the loft is closed"}, nil
	case "lost":
		return channel.Health{}, errors.New("no pigeon came back")
	}
	return channel.Health{OK: true, Words: "coo", Took: 20 * time.Millisecond, PerConn: 100, Rate: 5000}, nil
}

func (loft) Clock() time.Duration { return -90 * time.Second }
func (loft) Close() error         { return nil }

// serveChannels serves the operations of a data directory, with a provider of the test.
func serveChannels(t *testing.T, dir string, log *buffer) *admin.Service {
	t.Helper()
	store, err := lsm.Open(dir, lsm.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := app.Open(t.Context(), store.Apps, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := credential.Parse(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		t.Fatal(err)
	}
	devices := 1200
	s := &admin.Service{
		Apps: apps, Users: store.Users, Key: key, Drivers: channel.Drivers{channel.FCM: pigeon{}},
		CertificateUse: func(context.Context, uint32, int) (int, error) { return devices, nil },
		Log:            slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	socket, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: control.Handler(s), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(socket) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		apps.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// channelSession is what an operator writes about certificates and AppKeys. KEY is a file
// with a good credential.
const channelSession = `
channel list --app 9
channel add --app 9 --provider fcm --name android --package com.example.shop --file KEY
channel add --app 9 --provider fcm --name android --file KEY
channel add --app 9 --provider fcm --file - --json < good two MARKED-SECRET
channel add --app 9 --provider fcm --file - < bad MARKED-SECRET
channel add --app 9 --provider fcm --file - < good closed MARKED-SECRET
channel add --app 9 --provider fcm --file - < good lost MARKED-SECRET
channel add --app 9 --provider fcm --file - --offline --click url=https://shop.example.com --data-messages --channel-id offers < good lost MARKED-SECRET
channel add --app 9 --provider fcm --file -
channel add --app 9 --provider fcm --file /dev/zero
channel add --app 9 --provider fcm --file DATA/none
channel add --app 9 --provider fcm --file DATA
channel add --app 9 --provider fcm
channel add --app 9 --provider mail --file KEY
channel add --app 9 --file KEY
channel add --app 8 --provider fcm --file KEY
channel add --app 9 --provider fcm --file KEY --click dance
channel add --app 9 --provider fcm --file KEY --environment testing
channel list --app 9
channel list --app 9 --json
channel show --app 9 1
channel show --app 9 7
channel show --app 9 x
channel set --app 9 1 --name '' --click page=main
channel set --app 9 1
channel set --app 9 1 --click url=nowhere
channel replace --app 9 1 --file - < good closed MARKED-SECRET
channel replace --app 9 1 --file - --click app < good four MARKED-SECRET
channel replace --app 9 1
channel test --app 9 1
channel test --app 9 3
channel test --app 9 1 --json
channel remove --app 9 1
channel remove --app 9 1 --yes
channel remove --app 9 1 --yes
channel list
appkey list --app 9
appkey add --app 9 --name android
appkey add --app 9 --file - < MARKED-APP-KEY
appkey add --app 9 --file - < MARKED-APP-KEY
appkey add --app 9 --file - < short
appkey list --app 9
appkey list --app 9 --json
appkey remove --app 9 1
appkey remove --app 9 1
appkey remove --app 9 one
appkey add --app 8
app show 9 --json
`

// TestChannelSession: what an operator sees of certificates and AppKeys, none of which shows
// a credential, nor does the log or any file of the data directory.
func TestChannelSession(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "9", "--data", dir)
	fails(t, 1, "needs a server that runs", "channel", "add", "--app", "9", "--provider", "fcm", "--file", write(t, "key", "good one"), "--data", dir)
	if got := must(t, "channel", "list", "--app", "9", "--data", dir); !strings.Contains(got, "has no certificates") {
		t.Errorf("without a server: %s", got)
	}
	var log buffer
	serveChannels(t, dir, &log)
	key := write(t, "key", "good one MARKED-SECRET")
	var transcript strings.Builder
	for line := range strings.Lines(strings.TrimSpace(channelSession)) {
		line = strings.TrimSpace(line)
		transcript.WriteString(step(t, strings.ReplaceAll(line, "DATA", dir), dir, key))
	}
	golden(t, "channel.txt", transcript.String())
	for what, mark := range map[string]string{
		"the credential": "MARKED-SECRET", "its Base64": base64.StdEncoding.EncodeToString([]byte("good one MARKED-SECRET"))[:20], "the AppKey": "MARKED-APP-KEY",
	} {
		for line := range strings.Lines(transcript.String()) {
			if strings.Contains(line, mark) && !strings.HasPrefix(line, "$ ") {
				t.Errorf("%s shows in %s", what, line)
			}
		}
		if strings.Contains(log.String(), mark) {
			t.Errorf("the log shows %s: %s", what, &log)
		}
		files, found := 0, 0
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			files++
			if strings.Contains(string(b), mark) {
				found++
			}
			return err
		})
		if err != nil || files < 3 || found > 0 && what != "the AppKey" {
			t.Errorf("%s is in %d of %d files, %v", what, found, files, err)
		}
	}
	if got := must(t, "appkey", "reveal", "--app", "9", "--data", dir); !strings.Contains(got, "MARKED-APP-KEY") {
		t.Errorf("reveal shows %s", got)
	}
}

// TestRemoveAsks: before a certificate goes it is said how many devices name it.
func TestRemoveAsks(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "9", "--data", dir)
	serveChannels(t, dir, new(buffer))
	must(t, "channel", "add", "--app", "9", "--provider", "fcm", "--name", "android", "--file", write(t, "key", "good one"), "--data", dir)
	for answer, goes := range map[string]bool{"1\n": true, "yes\n": false, "": false, "11\n": false} {
		var out buffer
		e := &env{stdin: strings.NewReader(answer), stdout: &out, stderr: &out, lookup: shell{}.lookup}
		cmd := e.channelRemoveCommand()
		dataFlag(cmd.Flags())
		if err := cmd.Flags().Set("data", dir); err != nil {
			t.Fatal(err)
		}
		cmd.SetContext(t.Context())
		if err := e.confirmRemove(cmd, 9, 1); (err == nil) != goes {
			t.Errorf("answer %q: %v", answer, err)
		}
		if !strings.Contains(out.String(), "Remove certificate 1 of app 9, fcm android? 1 200 devices are reached through it and would not be any more.") {
			t.Errorf("asks %q", &out)
		}
	}
}
