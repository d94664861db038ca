package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/transfer"
)

// MaxDevices is how many devices a page has.
const MaxDevices = 1000

// maxRetired is how many retired tokens are shown of a device.
const maxRetired = 100

type (
	// DevicesRequest asks for a page of the devices of an app, or for those of an account.
	DevicesRequest struct {
		ID      uint32 `json:"sdkappid"`
		Account string `json:"account,omitempty"`
		Limit   int    `json:"limit,omitempty"` // 0: as many as a page has
		Next    string `json:"next,omitempty"`  // of the page before
	}
	// DeviceRequest names a device of an app.
	DeviceRequest struct {
		ID     uint32 `json:"sdkappid"`
		Device string `json:"device"`
	}
	// RestoreRequest says whose tokens come back: those of a device, or of a task.
	RestoreRequest struct {
		ID     uint32 `json:"sdkappid"`
		Device string `json:"device,omitempty"`
		Task   string `json:"task,omitempty"`
	}
)

type (
	// Devices is a page of devices.
	Devices struct {
		Devices []Device `json:"devices"`
		Next    string   `json:"next,omitempty"`
	}
	// Device is what an operator sees of a device: all but its tokens.
	Device struct {
		ID            string    `json:"id"`
		User          string    `json:"user,omitempty"`
		Platform      string    `json:"platform,omitempty"`
		Model         string    `json:"model,omitempty"`
		System        string    `json:"system,omitempty"`
		SystemVersion string    `json:"system_version,omitempty"`
		AppVersion    string    `json:"app_version,omitempty"`
		SDKVersion    string    `json:"sdk_version,omitempty"`
		PushVersion   string    `json:"push_version,omitempty"`
		Language      string    `json:"language,omitempty"`
		TimeZone      string    `json:"time_zone,omitempty"`
		Permission    string    `json:"permission,omitempty"`
		Test          bool      `json:"test,omitempty"`
		Badge         int       `json:"badge,omitempty"`
		Registered    time.Time `json:"registered"`
		LastActive    time.Time `json:"last_active"`
		Tokens        []Token   `json:"tokens"`
		Retired       []Token   `json:"retired,omitempty"` // that can be restored; only of a device that was asked for
	}
	// Token is what an operator sees of a token.
	Token struct {
		Certificate int       `json:"certificate"`
		Kind        string    `json:"kind"`
		LaID        string    `json:"la_id,omitempty"`
		Token       string    `json:"token"` // its last characters
		Environment string    `json:"environment,omitempty"`
		Topic       string    `json:"topic,omitempty"`
		Expires     time.Time `json:"expires,omitzero"`
		Registered  time.Time `json:"registered"`
		Refreshed   time.Time `json:"refreshed"`

		Retired time.Time `json:"retired,omitzero"` // when it was retired
		Reason  string    `json:"reason,omitempty"` // why
		Task    string    `json:"task,omitempty"`   // during which
	}
	// Restored says how many tokens came back.
	Restored struct {
		Tokens int `json:"tokens"`
	}
	// PushTest is what became of a push to one device.
	PushTest struct {
		Certificate int              `json:"certificate"`
		Provider    channel.Provider `json:"provider"`
		OK          bool             `json:"ok"`
		Outcome     string           `json:"outcome"`
		Status      int              `json:"status,omitempty"` // of HTTP
		Code        string           `json:"code,omitempty"`   // of the provider
		Words       string           `json:"words,omitempty"`  // of the provider
		Took        time.Duration    `json:"took"`
	}
)

// A TestPush sends a push of the operator's to one device, past all tasks and counts.
type TestPush func(ctx context.Context, app uint32, device string) (PushTest, error)

func (s *Service) listDevices(ctx context.Context, in DevicesRequest) (out Devices, err error) {
	if _, err := s.find(in.ID); err != nil {
		return out, err
	}
	var list []device.Device
	switch {
	case in.Limit < 0 || in.Limit > MaxDevices:
		return out, &app.Error{Msg: fmt.Sprintf("limit %d is not a number from 0 to %d", in.Limit, MaxDevices)}
	case in.Account != "":
		list, err = s.Devices.Of(ctx, in.ID, in.Account)
	case in.Limit == 0:
		list, out.Next, err = s.Devices.List(ctx, in.ID, MaxDevices, in.Next)
	default:
		list, out.Next, err = s.Devices.List(ctx, in.ID, in.Limit, in.Next)
	}
	out.Devices = make([]Device, len(list))
	for i := range list {
		out.Devices[i] = viewDevice(&list[i])
	}
	return out, err
}

func (s *Service) showDevice(ctx context.Context, in DeviceRequest) (Device, error) {
	if _, err := s.find(in.ID); err != nil {
		return Device{}, err
	}
	found, err := s.Devices.Device(ctx, in.ID, in.Device)
	if err != nil {
		return Device{}, deviceMistake(in.ID, in.Device, err)
	}
	retired, err := s.Devices.Retired(ctx, in.ID, in.Device, "", maxRetired)
	if err != nil {
		return Device{}, deviceMistake(in.ID, in.Device, err)
	}
	d := viewDevice(found)
	for i := range retired {
		t := viewToken(&retired[i].Token)
		t.Retired, t.Reason, t.Task = retired[i].At, retired[i].Reason, retired[i].Task
		d.Retired = append(d.Retired, t)
	}
	return d, nil
}

func (s *Service) removeDevice(ctx context.Context, in DeviceRequest) (None, error) {
	if _, err := s.find(in.ID); err != nil {
		return None{}, err
	}
	return None{}, deviceMistake(in.ID, in.Device, s.Devices.Remove(ctx, in.ID, device.Proof{Admin: true}, in.Device))
}

func (s *Service) restoreTokens(ctx context.Context, in RestoreRequest) (out Restored, err error) {
	if _, err := s.find(in.ID); err != nil {
		return out, err
	}
	if (in.Device == "") == (in.Task == "") {
		return out, &app.Error{Msg: "name a device or a task, one of them"}
	}
	out.Tokens, err = s.Devices.Restore(ctx, in.ID, in.Device, in.Task)
	return out, deviceMistake(in.ID, in.Device, err)
}

func (s *Service) testDevice(ctx context.Context, in DeviceRequest) (PushTest, error) {
	if _, err := s.find(in.ID); err != nil {
		return PushTest{}, err
	}
	if s.TestPush == nil {
		return PushTest{}, &app.Error{Msg: "there is no server that could send: start one with tidings serve"}
	}
	out, err := s.TestPush(ctx, in.ID, in.Device)
	return out, deviceMistake(in.ID, in.Device, err)
}

func (s *Service) importDevices(ctx context.Context, in transfer.Chunk, lines io.Reader, out *Answer) error {
	return s.applyDevices(ctx, in, false, lines, out)
}

func (s *Service) tryDevices(ctx context.Context, in transfer.Chunk, lines io.Reader, out *Answer) error {
	return s.applyDevices(ctx, in, true, lines, out)
}

func (s *Service) applyDevices(ctx context.Context, in transfer.Chunk, dryRun bool, lines io.Reader, out *Answer) error {
	a, err := s.find(in.App)
	if err != nil {
		return err
	}
	result, err := transfer.ApplyDevices(ctx, a, s.Drivers, s.Devices, in, dryRun, lines)
	if err != nil {
		return err
	}
	return out.result("devices", result)
}

// exportDevices is for owners alone: what it writes reaches people, and is good for more
// than to be looked at.
func (s *Service) exportDevices(ctx context.Context, in AppRequest, _ io.Reader, out *Answer) error {
	if _, err := s.find(in.ID); err != nil {
		return err
	}
	return transfer.WriteDevices(ctx, s.Devices, in.ID, out)
}

// deviceMistake returns the error of an operation on a device that may not be there.
func deviceMistake(id uint32, name string, err error) error {
	if errors.Is(err, device.ErrUnknown) || errors.Is(err, apierr.UnknownAccount) {
		return &app.Error{Msg: fmt.Sprintf("app %d has no device %.64q", id, name)}
	}
	return err
}

func viewDevice(d *device.Device) Device {
	view := Device{
		ID: d.ID, User: d.User, Platform: d.Platform, Model: d.Model, System: d.System, SystemVersion: d.SystemVersion,
		AppVersion: d.AppVersion, SDKVersion: d.SDKVersion, PushVersion: d.PushVersion, Language: d.Language, TimeZone: d.TimeZone,
		Permission: string(d.Permission), Test: d.Test, Badge: d.Badge, Registered: d.Registered, LastActive: d.LastActive,
		Tokens: make([]Token, len(d.Tokens)),
	}
	for i := range d.Tokens {
		view.Tokens[i] = viewToken(&d.Tokens[i])
	}
	return view
}

func viewToken(t *device.Token) Token {
	return Token{
		Certificate: t.Certificate, Kind: string(t.Kind), LaID: t.LaID, Token: t.Address.Last6(), Environment: string(t.Environment),
		Topic: t.Topic, Expires: t.Expires, Registered: t.Registered, Refreshed: t.Refreshed,
	}
}
