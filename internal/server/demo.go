package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/channel/fcm"
	"tidings/internal/config"
	"tidings/internal/device"
	"tidings/internal/simulate"
	"tidings/internal/task"
	"tidings/internal/wording"
)

// demoAttributes are the attributes of the demo app, by slot.
var demoAttributes = []string{"sex", "city", "country", "plan", "region", "app build", "since"}

// demoUsers are the users of the demo app: those in the examples of the contract, and
// enough others that a condition selects a part of them.
var demoUsers = []struct {
	account string
	values  audience.Values
	tags    []string
}{
	{"Mary", audience.Values{"female", "Paris", "France", "gold", "EU", "42", "2025-03-14"}, []string{"beta", "wk-digest"}},
	{"xiaoming", audience.Values{"male", "Shenzhen", "China", "silver", "APAC", "38", "2026-02-01"}, []string{"wk-digest"}},
	{"ada-lov", audience.Values{"female", "London", "UK", "gold", "UK", "42", "2024-12-10"}, []string{"beta"}},
	{"noor_77", audience.Values{"female", "Amman", "Jordan", "free", "MEA", "41", "2026-01-05"}, nil},
	{"kenji", audience.Values{"male", "Osaka", "Japan", "gold", "APAC", "40", "2025-07-30"}, []string{"muted"}},
	{"priya", audience.Values{"female", "Pune", "India", "gold", "APAC", "42", "2025-11-02"}, []string{"beta", "cricket"}},
	{"lucas", audience.Values{"male", "Lyon", "France", "free", "EU", "39", "2025-01-20"}, []string{"cycling"}},
	{"sofia", audience.Values{"female", "Turin", "Italy", "silver", "EU", "42", "2026-03-08"}, []string{"beta", "cycling"}},
	{"omar", audience.Values{"male", "Cairo", "Egypt", "gold", "MEA", "37", "2024-05-17"}, []string{"muted", "wk-digest"}},
	{"inga", audience.Values{"female", "", "Latvia", "gold", "EU", "42", "2026-06-21"}, []string{"cycling"}},
	{"tom", audience.Values{}, nil},
}

// A DemoPhone is a device of the demo app.
type DemoPhone struct {
	ID         string // RegistrationID
	User       string
	Model      string
	AppVersion string // that of the attribute "app build" of its user
	Language   string
	Permission device.Permission
	Token      channel.Address // by which the simulator tells them apart; empty: none
}

// DemoPhones are the devices of the demo app: enough that a push reaches somebody, and that
// for each reason why it does not there is a user to ask about. Tom has none.
var DemoPhones = []DemoPhone{
	{"demo-mary-pixel-9", "Mary", "Pixel 9", "42", "en", device.Allowed, "demo-token-mary-pixel-9-c2f1a7"},
	{"demo-mary-galaxy-tab", "Mary", "Galaxy Tab S10", "42", "fr", device.Allowed, "demo-token-mary-galaxy-tab-77d0e4"},
	{"demo-xiaoming-pixel-8", "xiaoming", "Pixel 8", "38", "zh-Hans", device.Allowed, "demo-token-xiaoming-pixel-8-51b9c3"},
	{"demo-ada-galaxy-s24", "ada-lov", "Galaxy S24", "42", "en-GB", device.Allowed, "demo-token-ada-galaxy-s24-e80a12"},
	{"demo-noor-moto-g84", "noor_77", "Moto G84", "41", "ar", device.PermissionUnknown, ""},
	{"demo-kenji-xperia-1", "kenji", "Xperia 1", "40", "ja", device.Denied, "demo-token-kenji-xperia-1-0f6d38"},
	{"demo-priya-oneplus-12", "priya", "OnePlus 12", "42", "en-IN", device.Allowed, "demo-token-priya-oneplus-12-93ac5e"},
	{"demo-lucas-pixel-7", "lucas", "Pixel 7", "39", "fr", device.Allowed, "demo-token-lucas-pixel-7-b4e7d1"},
	{"demo-sofia-galaxy-a55", "sofia", "Galaxy A55", "42", "it", device.Allowed, "demo-token-sofia-galaxy-a55-2a8f60"},
	{"demo-omar-redmi-note", "omar", "Redmi Note", "37", "ar", device.Allowed, "gone-token-omar-redmi-note-6c15b9"}, // the app was removed from it
	{"demo-inga-nokia-g42", "inga", "Nokia G42", "42", "lv", device.Allowed, "demo-token-inga-nokia-g42-d93e0b"},
}

// demoCertificate is the name of the certificate of the demo app, which is good for the
// demo's own simulator and for nothing else.
const demoCertificate = "simulator of the demo"

// Demo returns the declaration of the demo app.
func Demo(id uint32) app.Declaration {
	name := "demo"
	var none wording.Span
	d := app.Declaration{ID: id, Name: &name, AttrNames: map[string]string{}, PushGap: &none}
	for slot, attr := range demoAttributes {
		d.AttrNames[string(rune('0'+slot))] = attr
	}
	return d
}

// ReachesProviders reports whether a configuration names no address of a provider, so that
// pushes go where they are meant to go.
func ReachesProviders(cfg *config.Config) bool {
	return cfg.FCMURL == fcm.GoogleURL && cfg.FCMTokenURL == fcm.GoogleTokenURL
}

// SimulateProviders starts the simulator that a demo pushes to, and puts it into the
// configuration. Delivered, which may be nil, is called for each message that arrives at a
// phone. The caller closes the simulator.
func SimulateProviders(cfg *config.Config, delivered func(simulate.Delivery)) (*simulate.Simulator, error) {
	sim, err := simulate.Start(simulate.Options{Project: "tidings-demo", Delivered: delivered})
	if err != nil {
		return nil, fmt.Errorf("the simulator of push providers: %w", err)
	}
	var account struct {
		TokenURI string `json:"token_uri"`
	}
	if err := json.Unmarshal(sim.ServiceAccount(), &account); err != nil {
		return nil, errors.Join(err, sim.Close())
	}
	cfg.FCMURL, cfg.FCMTokenURL, cfg.FCMRamp = sim.URL(), account.TokenURI, false
	return sim, nil
}

// FillDemo creates what the demo app lacks of its users and their devices, and gives it
// the service account of the simulator that its pushes go to. An app that has a certificate
// which the demo did not make is left as it is, with an error: a demo must not send to
// anybody's phone.
func (s *Server) FillDemo(ctx context.Context, id uint32, account []byte) error {
	certificate, err := s.demoCertificate(ctx, id, account)
	if err != nil {
		return err
	}
	if err := s.fillDemoUsers(ctx, id); err != nil {
		return err
	}
	for _, p := range DemoPhones {
		d := device.Device{
			ID: p.ID, Platform: "android", Model: p.Model, System: "Android", SystemVersion: "16",
			AppVersion: p.AppVersion, Language: p.Language, TimeZone: "UTC", Permission: p.Permission,
		}
		if p.Token != "" {
			d.Tokens = []device.Token{{Certificate: certificate, Kind: channel.Alert, Address: p.Token}}
		}
		operator := device.Proof{Admin: true}
		if _, err := s.store.Devices.Register(ctx, id, operator, d); err != nil {
			return err
		}
		if err := s.store.Devices.Bind(ctx, id, operator, p.ID, p.User, false); err != nil {
			return err
		}
	}
	return nil
}

// DemoArrived reports that a message arrived at a phone of the demo.
func (s *Server) DemoArrived(id uint32, p *DemoPhone, reportID string, at time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.RequestTimeout)
	defer cancel()
	if _, err := s.store.Tasks.Reported(ctx, id, p.ID, reportID, task.Arrived, at); err != nil {
		s.log.Warn("an arrival in the demo could not be recorded", "device", p.ID, "error", err)
	}
}

// demoCertificate makes the service account of the simulator, which is another at each
// start, the credential of the demo's certificate, and returns its ID.
func (s *Server) demoCertificate(ctx context.Context, id uint32, account []byte) (int, error) {
	certificates := s.apps.App(id).Certificates
	for _, c := range certificates {
		if c.Name != demoCertificate {
			return 0, fmt.Errorf("app %d has certificate %d, which the demo did not make: a demo pushes to its own simulator only. Remove the certificate with tidings channel remove, or start without --demo", id, c.ID)
		}
	}
	if len(certificates) > 0 { // one, since names differ
		replace := admin.ReplaceRequest{ID: id, Certificate: certificates[0].ID, Secret: account, Offline: true}
		_, err := admin.ReplaceCertificate.Do(ctx, s.Control(), replace)
		return certificates[0].ID, err
	}
	c, err := admin.AddCertificate.Do(ctx, s.Control(), admin.NewCertificateRequest{ID: id, Provider: channel.FCM, Name: demoCertificate, Secret: account, Offline: true})
	return c.ID, err
}

// fillDemoUsers creates the users of the demo app that do not exist yet.
func (s *Server) fillDemoUsers(ctx context.Context, id uint32) error {
	attrs := &s.apps.App(id).Attributes
	var accounts []string
	for _, u := range demoUsers {
		accounts = append(accounts, u.account)
	}
	there, err := s.store.Users.Users(ctx, id, accounts)
	if err != nil {
		return err
	}
	var changes []audience.Change
	for i, u := range demoUsers {
		if !there[i].Exists {
			changes = append(changes, audience.Change{
				Account: u.account, Create: true, Attributes: attrs, Set: u.values,
				Tags: audience.TagEdit{Op: audience.AddTags, Tags: u.tags},
			})
		}
	}
	_, err = s.store.Users.Change(ctx, id, changes)
	return err
}
