package suite

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tidings/bench/load"
	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/wording"
)

// Sizes of the cases about pushes and devices, at Scale 1.
const (
	pushPhones = 1_000_000
	manyPhones = 10_000_000
)

// pushMessage is what is pushed: a usual message.
const pushMessage = `{"Title":"Your order is on its way","Desc":"It arrives between ten and twelve. Somebody has to be at home.",` +
	`"Ext":"{\"order\":4711}","AndroidInfo":{"GoogleChannelID":"orders","GooglePriority":"high"}}`

// A pushed is a server whose app pushes to a simulator.
type pushed struct {
	*store
	sim       *simulator
	installer load.Installer // of its devices
	phones    uint64         // devices, each with a user of its own
	made      uint64         // further devices, which were registered through the API
	pushes    uint32         // so far
}

// pushCases measures pushes to a million devices.
func (s *suite) pushCases(ctx context.Context) (err error) {
	p, err := s.openPush(ctx, s.scaled(pushPhones))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := s.importMembers(ctx, p.store); err != nil {
		return err
	}
	if _, err := s.givePhones(ctx, p); err != nil {
		return err
	}
	for _, c := range []func(context.Context, *pushed) error{s.fanOuts, s.batches, s.besideBroadcast, s.stalled} {
		if err := c(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// openPush starts a simulator, and a server on a fresh directory with an app that pushes to
// it.
func (s *suite) openPush(ctx context.Context, phones uint64) (_ *pushed, err error) {
	sim, err := s.simulate(ctx)
	if err != nil {
		return nil, err
	}
	p := &pushed{sim: sim, phones: phones}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.store, err = s.openWith(ctx, setup{
		config: fmt.Sprintf("fcm_url: %s\nfcm_token_url: %s/token\nfcm_rate: 0\nfcm_ramp: false\n", sim.url, sim.url),
	}); err != nil {
		return nil, err
	}
	p.name, p.users = count(phones)+" devices", phones
	return p, s.addPushApp(ctx, p)
}

// addPushApp creates the app, whose limits no case reaches, with a certificate of the
// simulator.
func (s *suite) addPushApp(ctx context.Context, p *pushed) error {
	const id = sdkAppID + 1
	account := []byte(nil)
	if err := p.sim.call(ctx, "GET", "service-account", nil, &account); err != nil {
		return err
	}
	var noGap wording.Span
	if err := p.control(ctx, "app/create", app.Declaration{
		ID: id, SecretKey: &p.secret, Admins: []string{identifier}, Limits: app.Limits{"default": 0},
		PushGap: &noGap, PendingTasks: new(100_000), DeviceLimit: new(100_000_000), RegistrationRate: new(0), RegistrationSourceRate: new(0),
	}, nil); err != nil {
		return err
	}
	var certificate admin.Certificate
	if err := p.control(ctx, "channel/add", admin.NewCertificateRequest{ID: id, Provider: channel.FCM, Secret: account}, &certificate); err != nil {
		return err
	}
	var key admin.AppKey
	if err := p.control(ctx, "appkey/add", admin.NewAppKeyRequest{ID: id}, &key); err != nil {
		return err
	}
	p.installer = load.Installer{App: id, AppKey: key.Secret, Certificate: certificate.ID, First: load.Phone(p.phones)}
	p.targets = []load.Target{s.target(p.store, id)}
	p.targets[0].URL = p.url
	p.client.Close()
	client, err := load.DialAll(ctx, p.targets, s.opts.Connections)
	if err != nil {
		return err
	}
	p.client = client
	return p.client.NameAttrs(ctx, load.TraitNames)
}

// close stops server and simulator.
func (p *pushed) close() error {
	var err error
	if p.store != nil {
		err = p.store.close()
	}
	return errors.Join(err, p.sim.stop())
}

// everyMember selects all users and no device that has none.
var everyMember = `plan in ["free", "paid"]`

// push pushes to those whom an expression selects, or if it is empty to everyone, and
// returns the id of the task.
func (p *pushed) push(ctx context.Context, where string) (id string, err error) {
	p.pushes++
	in := map[string]any{"MsgRandom": p.pushes, "OfflinePushInfo": json.RawMessage(pushMessage)}
	if where != "" {
		in["Where"] = where
	}
	var out struct {
		TaskID string `json:"TaskId"`
	}
	return out.TaskID, p.call(ctx, "timpush/push", in, &out)
}

// call makes a request of the admin.
func (p *pushed) call(ctx context.Context, command string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := p.client.Call(ctx, command, string(body))
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// stopTask stops a task and waits until the server is idle.
func (s *suite) stopTask(ctx context.Context, p *pushed, id string) error {
	return cmp.Or(p.call(ctx, "tidings/stop_task", map[string]string{"TaskId": id}, nil), s.settle(ctx, p.process))
}

// ended waits until a task has ended, and returns its state.
func (p *pushed) ended(ctx context.Context, id string) (string, error) {
	for {
		var out struct {
			State string
			Ended int64
		}
		if err := p.call(ctx, "tidings/get_task", map[string]string{"TaskId": id}, &out); err != nil || out.Ended > 0 {
			return out.State, err
		}
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// perSecond returns a rate.
func perSecond(n uint64, d time.Duration) float64 { return float64(n) / d.Seconds() }
