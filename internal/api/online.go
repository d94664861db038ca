package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/gate"
)

type onlineRequest struct {
	Accounts     []string `json:"To_Account" items:"0-500" over:"90011" account:"yes" note:"at least one"` // The users. It is needed.
	Detail       int64    `json:"IsNeedDetail" range:"0-1"`                                                // 1: also the status on each platform.
	InstanceIDs  int64    `json:"IsReturnInstid" range:"0-1"`                                              // 1: also the status of each device, by its RegistrationID.
	CustomStatus int64    `json:"IsReturnCustomStatus" range:"0-1"`                                        // It is taken and means nothing: there are no custom statuses.
}

type onlineResponse struct {
	QueryResult []userStatus // One entry for each user who exists, in the order asked.
	accountErrors
}

type userStatus struct {
	Account string           `json:"To_Account"` // The user.
	Status  string           // PushOnline if a device of the user with a token was seen within seven days, else Offline.
	Detail  []platformStatus `json:",omitempty"` // The status on each platform, if it was asked for.
}

type platformStatus struct {
	Platform string // Android, iPhone, iPad, HarmonyOS or Web.
	Status   string // The status, as above.
	InstID   string `json:"Instid,omitempty"` // The RegistrationID of the device, if it was asked for. Then each device has an entry.
}

// The statuses. There is no Online, which means a connection that stays open
// (spec/conventions.md, 5.6).
const (
	pushOnline = "PushOnline"
	offline    = "Offline"
)

// reachable is how long a device counts that was not seen.
const reachable = 7 * 24 * time.Hour

// queryOnlineStatus says of at most 500 users whether a push can reach them, from their
// devices. Users who do not exist are in ErrorList. Contract: spec/conventions.md, 5.6.
func (s *Server) queryOnlineStatus(ctx context.Context, c *gate.Caller, in *onlineRequest) (out onlineResponse, err error) {
	out.QueryResult = []userStatus{}
	failures, err := s.eachStatus(ctx, c, in, func(u userStatus) { out.QueryResult = append(out.QueryResult, u) })
	out.accountErrors = errorList(c, failures)
	return out, err
}

type stateResponse struct {
	QueryResult []userState // One entry for each user who exists, in the order asked.
}

type userState struct {
	Account string           `json:"To_Account"` // The user.
	State   string           // PushOnline if a device of the user with a token was seen within seven days, else Offline.
	Detail  []platformStatus `json:",omitempty"` // The status on each platform, if it was asked for.
}

// queryState is the older queryOnlineStatus, which leaves users out who do not exist.
func (s *Server) queryState(ctx context.Context, c *gate.Caller, in *onlineRequest) (out stateResponse, err error) {
	out.QueryResult = []userState{}
	_, err = s.eachStatus(ctx, c, in, func(u userStatus) {
		out.QueryResult = append(out.QueryResult, userState{u.Account, u.Status, u.Detail})
	})
	return out, err
}

// eachStatus calls f with the status of each user who exists, and returns the others.
func (s *Server) eachStatus(ctx context.Context, c *gate.Caller, in *onlineRequest, f func(userStatus)) ([]audience.Failure, error) {
	if len(in.Accounts) == 0 {
		return nil, apierr.NoReceivers.Errorf("To_Account is missing or empty")
	}
	users, err := s.users.Users(ctx, c.App.ID, in.Accounts)
	if err != nil {
		return nil, err
	}
	var failures []audience.Failure
	unknown := func(account string) {
		failures = append(failures, audience.Failure{Account: account, Err: apierr.UnknownAccount.Errorf("account does not exist")})
	}
	for i, account := range in.Accounts {
		if !users[i].Exists || users[i].Kind != audience.UserID {
			unknown(account)
			continue
		}
		devices, err := s.devices.Of(ctx, c.App.ID, account)
		switch {
		case errors.Is(err, apierr.UnknownAccount): // deleted since
			unknown(account)
			continue
		case err != nil:
			return nil, err
		}
		f(statusOf(account, devices, c.Now, in))
	}
	return failures, nil
}

// statusOf returns the status of a user with some devices.
func statusOf(account string, devices []device.Device, now time.Time, in *onlineRequest) userStatus {
	u := userStatus{Account: account, Status: offline}
	for i := range devices {
		d := &devices[i]
		one := platformStatus{Platform: platformOf(d), Status: offline}
		if len(d.Tokens) > 0 && now.Sub(d.LastActive) <= reachable {
			one.Status, u.Status = pushOnline, pushOnline
		}
		if in.InstanceIDs == 1 {
			one.InstID = d.ID
		}
		at := slices.IndexFunc(u.Detail, func(other platformStatus) bool { return other.Platform == one.Platform })
		switch {
		case in.Detail == 0 && in.InstanceIDs == 0:
		case at < 0 || in.InstanceIDs == 1:
			u.Detail = append(u.Detail, one)
		case one.Status == pushOnline:
			u.Detail[at].Status = pushOnline
		}
	}
	return u
}

// platformOf returns the name of a platform on the wire.
func platformOf(d *device.Device) string {
	switch {
	case d.Platform == "ios" && strings.HasPrefix(d.Model, "iPad"):
		return "iPad"
	case d.Platform == "ios":
		return "iPhone"
	case d.Platform == "harmony":
		return "HarmonyOS"
	case d.Platform == "web":
		return "Web"
	}
	return "Android"
}
