package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/config"
	"tidings/internal/server"
	"tidings/internal/simulate"
)

// demoID is the SDKAppID of the app that --demo makes.
const demoID = 1400000001

// prepareDemo puts the demo app into the configuration. Beside other apps, with a provider
// of somebody else, or in a data directory that holds anything else, it fails.
func prepareDemo(cfg *config.Config) error {
	if len(cfg.Apps) > 0 {
		return usagef("--demo makes an app of its own and cannot be used with apps in the configuration")
	}
	if !server.ReachesProviders(cfg) {
		return usagef("--demo pushes to a simulator of its own and cannot be used with fcm_url or fcm_token_url")
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, server.DemoMarker)); err != nil {
		if entries, err := os.ReadDir(cfg.Data); err == nil && len(entries) > 0 {
			return usagef("--demo needs an empty data directory, %s is not empty: choose another with --data", cfg.Data)
		}
	}
	cfg.Apps = []app.Declaration{server.Demo(demoID)}
	return nil
}

// A demo is the simulator that a demo pushes to, and what happens on its phones.
type demo struct {
	*simulate.Simulator
	out    io.Writer
	server atomic.Pointer[server.Server] // nil before it is ready
	phones map[channel.Address]*server.DemoPhone
}

// startDemo starts the simulator. What arrives at a phone is printed to out.
func startDemo(cfg *config.Config, out io.Writer) (d *demo, err error) {
	d = &demo{out: out, phones: map[channel.Address]*server.DemoPhone{}}
	for i := range server.DemoPhones {
		p := &server.DemoPhones[i]
		d.phones[p.Token] = p
	}
	d.Simulator, err = server.SimulateProviders(cfg, d.arrived)
	return d, err
}

// arrived shows a message as its phone does, and reports that it arrived as an app would.
func (d *demo) arrived(m simulate.Delivery) {
	p, s := d.phones[channel.Address(m.Token)], d.server.Load()
	if p == nil || s == nil {
		return
	}
	s.DemoArrived(demoID, p, m.ID, m.Time)
	fmt.Fprintf(d.out, "%s  %s's %s shows: %q, %q\n", m.Time.Local().Format(time.TimeOnly), p.User, p.Model, m.Title, m.Text)
}

// fillDemo fills the demo app and returns a text that shows how to call it.
func fillDemo(ctx context.Context, s *server.Server, d *demo, data string) (string, error) {
	d.server.Store(s)
	if err := s.FillDemo(ctx, demoID, d.ServiceAccount()); err != nil {
		return "", err
	}
	sig, err := admin.MakeSig.Do(ctx, s.Control(), admin.SigRequest{ID: demoID})
	if err != nil {
		return "", err
	}
	url, flags := dialable(s.URL()), ""
	if isTLS(url) {
		flags = " -k"
	}
	at := ""
	if filepath.Clean(data) != filepath.Clean(defaultData) {
		at = " --data " + shellQuote(data)
	}
	return fmt.Sprintf(`
Demo app: SDKAppID %[1]d, admin %[2]s, Mary, xiaoming and nine other users with attributes, tags and phones.

Push to everybody with a plan of gold, in another terminal; what arrives at a phone is printed here:

go run ./cmd/tidings push%[6]s --app %[1]d --where 'plan == "gold"' --title Hello --desc 'It works'

Ask why one of them did not get it:

go run ./cmd/tidings trace%[6]s --app %[1]d kenji

Take attributes away from two of them:

curl -sS%[3]s '%[4]s/v4/timpush/remove_attr?usersig=%[5]s&identifier=%[2]s&sdkappid=%[1]d&random=99999999&contenttype=json' -d '{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]},{"To_Account":"xiaoming","Attrs":["sex","city"]}]}'; echo

Ask who pays for gold and does not use the newest build, and how many by each of that:

curl -sS%[3]s '%[4]s/v4/tidings/estimate_audience?usersig=%[5]s&identifier=%[2]s&sdkappid=%[1]d&random=99999999&contenttype=json' -d '{"Where":"plan == \"gold\" && attr(\"app build\") < 42","Sample":10}'; echo

`, demoID, sig.Identifier, flags, url, sig.Ticket, at), nil
}
