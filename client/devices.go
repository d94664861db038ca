package client

import (
	"context"
	"iter"
)

// A DeviceInfo is what a back end sees of a device. Times are Unix seconds.
type DeviceInfo struct {
	RegistrationID string
	UserID         string // that it is bound to; empty: none
	Platform       string // android, ios, harmony, web
	Model          string
	System         string
	SystemVersion  string
	AppVersion     string
	SDKVersion     string
	PushVersion    string
	Language       string // BCP 47
	TimeZone       string
	Permission     string // allowed, denied; empty: not known
	Test           int    // 1: a device for tests
	Badge          int
	Registered     int64
	LastActive     int64 // to a day
	Tokens         []TokenInfo
}

// A TokenInfo is what a back end sees of a token: its last characters and what it is for.
type TokenInfo struct {
	Certificate int
	Kind        string
	Token       string
	LaID        string `json:"LaId"`
	Environment string
	Topic       string
	Expires     int64 // 0: not known
	Registered  int64
	Refreshed   int64 // to a day
}

// ListDevices iterates over the devices of the app, asking for 1000 at a time. The
// iteration ends after an error.
//
// Limit: 100 pages per second. Command: tidings/list_devices, which only Tidings has.
func (c *Client) ListDevices(ctx context.Context) iter.Seq2[DeviceInfo, error] {
	type request struct {
		Limit int
		Next  string `json:",omitempty"`
	}
	return func(yield func(DeviceInfo, error) bool) {
		for next := ""; ; {
			var page struct {
				Devices []DeviceInfo
				Next    string
			}
			if err := c.Call(ctx, "tidings/list_devices", request{1000, next}, &page); err != nil {
				yield(DeviceInfo{}, err)
				return
			}
			for _, d := range page.Devices {
				if !yield(d, nil) {
					return
				}
			}
			if next = page.Next; next == "" {
				return
			}
		}
	}
}

// DevicesOf returns the devices of an account: those bound to a UserID, or a RegistrationID
// itself. An account that does not exist is [ErrUnknownAccount].
//
// Limit: 100 calls per second. Command: tidings/list_devices, which only Tidings has.
func (c *Client) DevicesOf(ctx context.Context, account string) ([]DeviceInfo, error) {
	const command = "tidings/list_devices"
	if err := checkText(command, account); err != nil {
		return nil, err
	}
	var out struct{ Devices []DeviceInfo }
	err := c.Call(ctx, command, map[string]string{"To_Account": account}, &out)
	return out.Devices, err
}

// RemoveDevice removes a device with its attributes and tags, and reports whether it was
// there.
//
// Limit: 100 calls per second. Command: tidings/remove_device, which only Tidings has.
func (c *Client) RemoveDevice(ctx context.Context, registrationID string) (removed bool, err error) {
	const command = "tidings/remove_device"
	if err := checkText(command, registrationID); err != nil {
		return false, err
	}
	var out struct{ Removed int }
	err = c.Call(ctx, command, map[string]string{"RegistrationID": registrationID}, &out)
	return out.Removed == 1, err
}

// RestoreTokens gives retired tokens back to a device, and returns how many. A device that
// does not exist is [ErrUnknownAccount].
//
// Limit: 100 calls per second. Command: tidings/restore_tokens, which only Tidings has.
func (c *Client) RestoreTokens(ctx context.Context, registrationID string) (int, error) {
	return c.restore(ctx, "RegistrationID", registrationID)
}

// RestoreTokensOf gives all tokens back that were retired during a task, and returns how
// many.
//
// Limit: 100 calls per second. Command: tidings/restore_tokens, which only Tidings has.
func (c *Client) RestoreTokensOf(ctx context.Context, taskID string) (int, error) {
	return c.restore(ctx, "TaskId", taskID)
}

func (c *Client) restore(ctx context.Context, member, name string) (int, error) {
	const command = "tidings/restore_tokens"
	if err := checkText(command, name); err != nil {
		return 0, err
	}
	var out struct{ Restored int }
	err := c.Call(ctx, command, map[string]string{member: name}, &out)
	return out.Restored, err
}

// An OnlineStatus says whether a push can reach a user.
type OnlineStatus struct {
	Account string `json:"To_Account"`
	Status  string // PushOnline, Offline
	Detail  []PlatformStatus
}

// A PlatformStatus is the status of a user on one platform.
type PlatformStatus struct {
	Platform string // Android, iPhone, iPad, HarmonyOS, Web
	Status   string
}

// OnlineStatus returns the status of at most 500 users, with detail also on each platform.
// Users who do not exist are reported in [*AccountErrors].
//
// Limit: 200 calls per second. Command: openim/query_online_status.
func (c *Client) OnlineStatus(ctx context.Context, users []string, detail bool) ([]OnlineStatus, error) {
	const command = "openim/query_online_status"
	if err := checkText(command, users...); err != nil {
		return nil, err
	}
	in := struct {
		Accounts []string `json:"To_Account"`
		Detail   int      `json:"IsNeedDetail"`
	}{Accounts: users}
	if detail {
		in.Detail = 1
	}
	var out struct{ QueryResult []OnlineStatus }
	err := c.Call(ctx, command, in, &out)
	return out.QueryResult, err
}
