package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tidings/internal/admin"
	"tidings/internal/app"
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

// startDemo starts the simulator that a demo pushes to. What arrives at a phone is printed
// to out.
func startDemo(cfg *config.Config, out io.Writer) (*simulate.Simulator, error) {
	phones := map[string]*server.DemoPhone{}
	for i := range server.DemoPhones {
		p := &server.DemoPhones[i]
		phones[string(p.Token)] = p
	}
	return server.SimulateProviders(cfg, func(d simulate.Delivery) {
		whose := "a phone"
		if p := phones[d.Token]; p != nil {
			whose = fmt.Sprintf("%s's %s", p.User, p.Model)
		}
		fmt.Fprintf(out, "%s  %s shows: %q, %q\n", d.Time.Local().Format("15:04:05"), whose, d.Title, d.Text)
	})
}

// fillDemo fills the demo app and returns a text that shows how to call it.
func fillDemo(ctx context.Context, s *server.Server, sim *simulate.Simulator) (string, error) {
	if err := s.FillDemo(ctx, demoID, sim.ServiceAccount()); err != nil {
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
	return fmt.Sprintf(`
Demo app: SDKAppID %[1]d, admin %[2]s, Mary, xiaoming and nine other users with attributes, tags and phones.

Push to everybody with a plan of gold, in another terminal; what arrives at a phone is printed here:

tidings push --app %[1]d --where 'plan == "gold"' --title Hello --desc 'It works'

Take attributes away from two of them:

curl -sS%[3]s '%[4]s/v4/timpush/remove_attr?usersig=%[5]s&identifier=%[2]s&sdkappid=%[1]d&random=99999999&contenttype=json' -d '{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]},{"To_Account":"xiaoming","Attrs":["sex","city"]}]}'; echo

Ask who pays for gold and does not use the newest build, and how many by each of that:

curl -sS%[3]s '%[4]s/v4/tidings/estimate_audience?usersig=%[5]s&identifier=%[2]s&sdkappid=%[1]d&random=99999999&contenttype=json' -d '{"Where":"plan == \"gold\" && attr(\"app build\") < 42","Sample":10}'; echo

`, demoID, sig.Identifier, flags, url, sig.Ticket), nil
}
