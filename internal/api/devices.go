package api

import (
	"context"
	"errors"

	"tidings/internal/apierr"
	"tidings/internal/device"
	"tidings/internal/gate"
)

type listDevicesRequest struct {
	Account *string `json:"To_Account" account:"yes"` // Only the devices of this account: those bound to a UserID, or a RegistrationID itself. They are on one page.
	Limit   int64   `range:"1-1000" default:"100"`    // How many devices are on a page.
	Next    string  // Next of the answer with the page before. It is absent for the first page.
}

type listDevicesResponse struct {
	Devices []deviceItem // The devices, in the order in which they were made.
	Next    string       `json:",omitempty"` // The token of the next page, which is absent on the last one.
}

type deviceItem struct {
	RegistrationID string      // The device.
	UserID         string      `json:",omitempty"` // The user that it is bound to.
	Platform       string      `json:",omitempty"` // Its platform: android, ios, harmony or web.
	Model          string      `json:",omitempty"` // Its model.
	System         string      `json:",omitempty"` // The name of its system.
	SystemVersion  string      `json:",omitempty"` // The version of its system.
	AppVersion     string      `json:",omitempty"` // The version of the app.
	SDKVersion     string      `json:",omitempty"` // The version of the SDK in the app.
	PushVersion    string      `json:",omitempty"` // The version of the push plug-in in the app.
	Language       string      `json:",omitempty"` // The language that the person reads, in BCP 47.
	TimeZone       string      `json:",omitempty"` // Its time zone.
	Permission     string      `json:",omitempty"` // Whether the person permits notifications: allowed or denied. It is absent if that is not known.
	Test           int         // 1: a device for tests.
	Badge          int         // The number that it shows.
	Registered     int64       // When it was made, in Unix seconds.
	LastActive     int64       // When it was seen last, in Unix seconds, to a day.
	Tokens         []tokenItem // The ways to reach it.
}

type tokenItem struct {
	Certificate int    // The certificate that the token belongs to.
	Kind        string // What the token is good for.
	Token       string // The last six characters of the token.
	LaID        string `json:"LaId,omitempty"` // The Live Activity that the token is for.
	Environment string `json:",omitempty"`     // The system of Apple that the token belongs to, if it said so.
	Topic       string `json:",omitempty"`     // The topic of the token, if it said so.
	Expires     int64  `json:",omitzero"`      // When the token ends, in Unix seconds, if it said so.
	Registered  int64  // When the device came with the token first, in Unix seconds.
	Refreshed   int64  // When the device came with the token last, in Unix seconds, to a day.
}

// listDevices lists devices with the last characters of their tokens: those of an account, or
// all of the app in pages. An account that does not exist is 70107.
func (s *Server) listDevices(ctx context.Context, c *gate.Caller, in *listDevicesRequest) (out listDevicesResponse, err error) {
	var list []device.Device
	switch {
	case in.Account == nil:
		list, out.Next, err = s.devices.List(ctx, c.App.ID, int(in.Limit), in.Next)
	case in.Next != "":
		return out, apierr.BadJSON.Errorf("Next is beside To_Account, whose devices are on one page")
	default:
		list, err = s.devices.Of(ctx, c.App.ID, *in.Account)
	}
	out.Devices = make([]deviceItem, len(list))
	for i := range list {
		out.Devices[i] = itemOf(&list[i])
	}
	return out, err
}

func itemOf(d *device.Device) deviceItem {
	item := deviceItem{
		RegistrationID: d.ID, UserID: d.User, Platform: d.Platform, Model: d.Model, System: d.System, SystemVersion: d.SystemVersion,
		AppVersion: d.AppVersion, SDKVersion: d.SDKVersion, PushVersion: d.PushVersion, Language: d.Language, TimeZone: d.TimeZone,
		Permission: string(d.Permission), Badge: d.Badge, Registered: d.Registered.Unix(), LastActive: d.LastActive.Unix(),
		Tokens: make([]tokenItem, len(d.Tokens)),
	}
	if d.Test {
		item.Test = 1
	}
	for i, t := range d.Tokens {
		item.Tokens[i] = tokenItem{
			Certificate: t.Certificate, Kind: string(t.Kind), Token: t.Address.Last6(), LaID: t.LaID,
			Environment: string(t.Environment), Topic: t.Topic, Registered: t.Registered.Unix(), Refreshed: t.Refreshed.Unix(),
		}
		if !t.Expires.IsZero() {
			item.Tokens[i].Expires = t.Expires.Unix()
		}
	}
	return item
}

type removeDeviceRequest struct {
	RegistrationID string `need:"yes" account:"yes"` // The device.
}

type removeDeviceResponse struct {
	Removed int // 1 if the device was removed, 0 if there was none.
}

// removeDevice removes a device with its account, its attributes and its tags. An app that is
// still installed on it is told to register anew when it calls next.
func (s *Server) removeDevice(ctx context.Context, c *gate.Caller, in *removeDeviceRequest) (out removeDeviceResponse, err error) {
	switch err := s.devices.Remove(ctx, c.App.ID, device.Proof{Admin: true}, in.RegistrationID); {
	case err == nil:
		return removeDeviceResponse{1}, nil
	case errors.Is(err, device.ErrUnknown):
		return out, nil
	default:
		return out, err
	}
}

type restoreTokensRequest struct {
	RegistrationID string `account:"yes"` // The device whose tokens come back. It is needed, or TaskId.
	TaskID         string `json:"TaskId"` // The task during which tokens were retired that come back, all of them.
}

type restoreTokensResponse struct {
	Restored int // How many tokens came back.
}

// restoreTokens gives tokens back to their devices that were retired in the last 30 days
// because a provider said that they were dead, where no newer token has their place: those
// of a device, or those of a whole task. A device that does not exist is 70107.
func (s *Server) restoreTokens(ctx context.Context, c *gate.Caller, in *restoreTokensRequest) (out restoreTokensResponse, err error) {
	if (in.RegistrationID == "") == (in.TaskID == "") {
		return out, apierr.BadJSON.Errorf("RegistrationID or TaskId says whose tokens come back, one of them")
	}
	out.Restored, err = s.devices.Restore(ctx, c.App.ID, in.RegistrationID, in.TaskID)
	if errors.Is(err, device.ErrUnknown) {
		err = apierr.UnknownAccount.Errorf("there is no device %s", gate.Quote(in.RegistrationID))
	}
	return out, err
}
