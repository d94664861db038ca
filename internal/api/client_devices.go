package api

import (
	"context"
	"errors"
	"strings"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/gate"
	"tidings/internal/task"
)

type registerRequest struct {
	RegistrationID string `note:"33 to 64 of A-Z a-z 0-9 _ -"` // The RegistrationID to have: longer than any UserID, and one that nobody can guess, such as a UUID. If it is absent, the server makes one.
	installation
}

type registerResponse struct {
	gate.Created   `json:"-"`
	RegistrationID string // The RegistrationID of the device.
	DeviceSecret   string // What all later calls for the device have to show. It is in this answer only.
}

// registerDevice makes a device, which is an account of the kind RegistrationID. A
// RegistrationID that another device has, or a user, is refused.
func (s *Server) registerDevice(ctx context.Context, c *gate.Caller, in *registerRequest) (out registerResponse, err error) {
	if in.RegistrationID != "" {
		if err := device.CheckID(in.RegistrationID); err != nil {
			return out, apierr.BadJSON.Errorf("RegistrationID: %v", err)
		}
		if len(in.RegistrationID) <= audience.MaxUserIDBytes {
			return out, s.shortID(ctx, c.App.ID, in.RegistrationID)
		}
	}
	d, err := s.device(c, &in.installation)
	if err != nil {
		return out, err
	}
	d.ID, d.Registered = in.RegistrationID, d.LastActive
	made, err := s.devices.Register(ctx, c.App.ID, device.Proof{}, d)
	switch {
	case errors.Is(err, device.ErrTaken):
		return out, takenByUser(in.RegistrationID)
	case errors.Is(err, device.ErrForbidden):
		return out, takenByDevice(in.RegistrationID)
	case err != nil:
		return out, s.deviceError(c, err)
	}
	id := made.Device.ID
	return registerResponse{gate.Creating(), id, marked(c.App, c.Now, id, made.Secret)}, nil
}

// shortID returns why nobody who has an AppKey alone can have a RegistrationID that could be
// a UserID. An AppKey is public: a stranger would keep the name from a user who is yet to
// come, and get what is pushed to that user.
func (s *Server) shortID(ctx context.Context, app uint32, id string) error {
	if _, err := s.devices.Device(ctx, app, id); !errors.Is(err, device.ErrUnknown) {
		if err != nil {
			return err
		}
		return takenByDevice(id)
	}
	users, err := s.users.Users(ctx, app, []string{id})
	if err != nil {
		return err
	}
	if users[0].Exists && users[0].Kind == audience.UserID {
		return takenByUser(id)
	}
	return apierr.BadJSON.Errorf("RegistrationID %s has %d bytes: one that an app chooses has %d to %d, more than any UserID", gate.Quote(id), len(id), audience.MaxUserIDBytes+1, device.MaxIDBytes)
}

func takenByUser(id string) error {
	return apierr.RegistrationIDTaken.Errorf("RegistrationID %s is a UserID", gate.Quote(id))
}

func takenByDevice(id string) error {
	return apierr.NotYourDevice.Errorf("RegistrationID %s belongs to a device: refresh it with its secret, or register with another RegistrationID", gate.Quote(id))
}

type refreshRequest struct{ installation }

// refreshDevice says again all that the app says of the device. Tokens that are not in the
// request are given up. One that changes nothing within a day costs no write.
func (s *Server) refreshDevice(ctx context.Context, c *gate.Caller, in *refreshRequest) (out struct{}, err error) {
	p, err := s.proof(c)
	if err != nil {
		return out, err
	}
	d, err := s.device(c, &in.installation)
	if err != nil {
		return out, err
	}
	d.ID = c.Device
	_, err = s.devices.Register(ctx, c.App.ID, p, d)
	return out, s.deviceError(c, err)
}

// deleteDevice removes the device with its account: nothing is kept of it.
func (s *Server) deleteDevice(ctx context.Context, c *gate.Caller, _ *struct{}) (out struct{}, err error) {
	p, err := s.proof(c)
	if err != nil {
		return out, err
	}
	return out, s.deviceError(c, s.devices.Remove(ctx, c.App.ID, p, c.Device))
}

type bindRequest struct {
	UserID  string `need:"yes" note:"1 to 32 bytes"` // The user who logged in on the device. An account that does not exist is created.
	UserSig string `need:"yes"`                      // A ticket of the user.
}

// bindDevice gives the device to a user, and takes it from whoever had it. A user who has
// too many devices then loses the one that was idle longest.
func (s *Server) bindDevice(ctx context.Context, c *gate.Caller, in *bindRequest) (out struct{}, err error) {
	p, err := s.proof(c)
	if err != nil {
		return out, err
	}
	if err := c.App.Settings.UserIDs.Check(in.UserID); err != nil {
		return out, apierr.BadJSON.Errorf("UserID %v", err)
	}
	if err := c.CheckUser(in.UserID, in.UserSig); err != nil {
		return out, err
	}
	return out, s.deviceError(c, s.devices.Bind(ctx, c.App.ID, p, c.Device, in.UserID, true))
}

// unbindDevice takes the device from its user, as after a logout. The device stays, and is
// pushed to as itself.
func (s *Server) unbindDevice(ctx context.Context, c *gate.Caller, _ *struct{}) (out struct{}, err error) {
	p, err := s.proof(c)
	if err != nil {
		return out, err
	}
	return out, s.deviceError(c, s.devices.Unbind(ctx, c.App.ID, p, c.Device))
}

type badgeRequest struct {
	Badge int64 `need:"yes" range:"0-9999"` // The number that the device shows now. Pushes count on from it.
}

// setBadge says which number the device shows.
func (s *Server) setBadge(ctx context.Context, c *gate.Caller, in *badgeRequest) (out struct{}, err error) {
	p, err := s.proof(c)
	if err != nil {
		return out, err
	}
	return out, s.deviceError(c, s.devices.SetBadge(ctx, c.App.ID, p, c.Device, int(in.Badge)))
}

// maxReports is how many events one request reports. The range in the request says the same.
const maxReports = 20

type reportRequest struct {
	Reports []deviceReport `need:"yes" items:"1-20"` // What happened on the device.
}

type deviceReport struct {
	ReportID string `need:"yes" note:"at most 40 bytes"`         // What the push brought as `tidings`.
	Event    string `need:"yes" note:"one of: arrived, clicked"` // What happened to the push.
}

// maxReportIDBytes is the longest report id (push.md, 1).
const maxReportIDBytes = 40

var events = map[string]task.Event{"arrived": task.Arrived, "clicked": task.Clicked}

// reportEvents reports that pushes arrived on the device, or were clicked. Each counts once,
// until seven days after the push. One that does not count is no failure.
func (s *Server) reportEvents(ctx context.Context, c *gate.Caller, in *reportRequest) (out struct{}, err error) {
	p, err := s.proof(c)
	if err != nil {
		return out, err
	}
	if len(in.Reports) > maxReports {
		return out, apierr.BadJSON.Errorf("Reports has %d entries, at most %d are allowed", len(in.Reports), maxReports)
	}
	for i, r := range in.Reports {
		switch {
		case r.ReportID == "" || len(r.ReportID) > maxReportIDBytes || strings.ContainsFunc(r.ReportID, notASCII):
			return out, apierr.BadJSON.Errorf("Reports[%d].ReportID: %s is none, it has 1 to %d printable characters", i, gate.Quote(r.ReportID), maxReportIDBytes)
		case events[r.Event] == 0:
			return out, apierr.BadJSON.Errorf("Reports[%d].Event: %s is neither arrived nor clicked", i, gate.Quote(r.Event))
		}
	}
	if err := s.devices.Prove(ctx, c.App.ID, p, c.Device); err != nil {
		return out, s.deviceError(c, err)
	}
	for _, r := range in.Reports {
		if _, err := s.tasks.Reported(ctx, c.App.ID, c.Device, r.ReportID, events[r.Event], c.Now); err != nil {
			return out, err
		}
	}
	return out, nil
}

func notASCII(r rune) bool { return r <= ' ' || r > '~' }

// proof returns why a client app may change the device in the path.
func (s *Server) proof(c *gate.Caller) (device.Proof, error) {
	if err := device.CheckID(c.Device); err != nil {
		return device.Proof{}, apierr.BadJSON.Errorf("the path: %v", err)
	}
	p := device.Proof{Secret: unmarked(c.Secret), User: c.User}
	if p == (device.Proof{}) {
		return p, s.deviceError(c, device.ErrForbidden) // a Proof of nothing makes devices
	}
	return p, nil
}

// deviceError returns the failure of a call for the device in the path. Who did not show
// that the device was theirs learns nothing about whether it exists.
func (s *Server) deviceError(c *gate.Caller, err error) error {
	unknown := errors.Is(err, device.ErrUnknown)
	switch {
	case err == nil:
		return nil
	case unknown || errors.Is(err, device.ErrForbidden):
		theirs := isMarked(c.App, c.Now, c.Device, c.Secret)
		if unknown && theirs {
			return apierr.UnknownAccount.Errorf("device %s does not exist any more, register anew", c.Device)
		}
		return apierr.NotYourDevice.Errorf("device %s takes this only from whoever shows its secret, or a ticket of its user; if the secret is lost, register anew", c.Device)
	case errors.Is(err, device.ErrInvalid):
		return apierr.BadJSON.Errorf("%v", err)
	case errors.Is(err, device.ErrFull):
		return apierr.TooManyDevices.Errorf("app %d has as many devices as it may have", c.App.ID)
	}
	return err
}
