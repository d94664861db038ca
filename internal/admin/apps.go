package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tidings/internal/app"
)

// The requests of the operations on apps. The first member names the app.
type (
	// AppRequest names an app.
	AppRequest struct {
		ID uint32 `json:"sdkappid"`
	}
	// StatusRequest sets the status of an app.
	StatusRequest struct {
		ID     uint32     `json:"sdkappid"`
		Status app.Status `json:"status"`
	}
	// NewKeyRequest adds a key; a new one if Secret is empty.
	NewKeyRequest struct {
		ID      uint32 `json:"sdkappid"`
		Secret  string `json:"secret,omitempty"`
		Primary bool   `json:"primary,omitempty"`
	}
	// KeyRequest names a key.
	KeyRequest struct {
		ID  uint32 `json:"sdkappid"`
		Key int    `json:"key"`
	}
	// RetireRequest lets a key end; the zero time takes its end away.
	RetireRequest struct {
		ID   uint32    `json:"sdkappid"`
		Key  int       `json:"key"`
		Ends time.Time `json:"ends,omitzero"`
	}
	// AccountRequest names an account of an app.
	AccountRequest struct {
		ID      uint32 `json:"sdkappid"`
		Account string `json:"account"`
	}
)

// The results.
type (
	// App is an app as the operator sees it, in the words of the configuration. The
	// declaration says everything but the keys.
	App struct {
		app.Declaration
		Created time.Time `json:"created"`
		Users   int       `json:"users"`
		Keys    []Key     `json:"keys"`
	}
	// Key is a key as the operator sees it: masked unless revealed.
	Key struct {
		ID      int       `json:"id"`
		Secret  string    `json:"secret"`
		Primary bool      `json:"primary"`
		Created time.Time `json:"created"`
		Ends    time.Time `json:"ends,omitzero"`
		Ended   bool      `json:"ended"`
	}
)

func (s *Service) info(context.Context, None) (Info, error) {
	info := s.Info
	if s.Certificate != nil {
		info.Certificate = s.Certificate()
	}
	return info, nil
}

// find returns an app; it is a mistake to ask for one that does not exist.
func (s *Service) find(id uint32) (*app.App, error) {
	if a := s.Apps.App(id); a != nil {
		return a, nil
	}
	return nil, &app.Error{Msg: fmt.Sprintf("app %d does not exist", id)}
}

// view returns an app as the operator sees it.
func (s *Service) view(ctx context.Context, a *app.App, reveal bool) (App, error) {
	n, err := s.Users.Count(ctx, a.ID)
	return App{Declaration: a.Declaration(), Created: a.Created, Users: n, Keys: viewKeys(a, reveal)}, err
}

// viewChanged is view after a change that may have failed.
func (s *Service) viewChanged(ctx context.Context, a *app.App, err error) (App, error) {
	if err != nil {
		return App{}, err
	}
	return s.view(ctx, a, false)
}

func viewKeys(a *app.App, reveal bool) []Key {
	list := []Key{}
	for _, k := range a.Keys {
		list = append(list, viewKey(k, reveal))
	}
	return list
}

func viewKey(k app.Key, reveal bool) Key {
	v := Key{k.ID, k.Secret.String(), k.Primary, k.Created, k.Ends, !k.Good(time.Now())}
	if reveal {
		v.Secret = string(k.Secret)
	}
	return v
}

// createApp shows the keys: it is the moment to note them.
func (s *Service) createApp(ctx context.Context, d app.Declaration) (App, error) {
	a, err := s.Apps.Create(ctx, d)
	if err != nil {
		return App{}, err
	}
	return s.view(ctx, a, true)
}

func (s *Service) setApp(ctx context.Context, d app.Declaration) (App, error) {
	if _, err := s.find(d.ID); err != nil {
		return App{}, err
	}
	a, err := s.Apps.Declare(ctx, d)
	return s.viewChanged(ctx, a, err)
}

func (s *Service) listApps(ctx context.Context, _ None) ([]App, error) {
	list := []App{}
	for _, a := range s.Apps.All() {
		v, err := s.view(ctx, a, false)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (s *Service) showApp(ctx context.Context, in AppRequest) (App, error) {
	a, err := s.find(in.ID)
	return s.viewChanged(ctx, a, err)
}

func (s *Service) setStatus(ctx context.Context, in StatusRequest) (App, error) {
	if !slices.Contains([]app.Status{app.Enabled, app.Disabled, app.Suspended}, in.Status) {
		return App{}, &app.Error{Msg: fmt.Sprintf("status %q is none of enabled, disabled, suspended", in.Status)}
	}
	a, err := s.Apps.SetStatus(ctx, in.ID, in.Status)
	return s.viewChanged(ctx, a, err)
}

func (s *Service) deleteApp(ctx context.Context, in AppRequest) (None, error) {
	return None{}, s.Apps.Delete(ctx, in.ID)
}

// addKey shows the key: it is the moment to note it.
func (s *Service) addKey(ctx context.Context, in NewKeyRequest) (Key, error) {
	k, err := s.Apps.AddKey(ctx, in.ID, app.Secret(in.Secret), in.Primary)
	return viewKey(k, true), err
}

func (s *Service) listKeys(_ context.Context, in AppRequest) ([]Key, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	return viewKeys(a, false), nil
}

func (s *Service) revealKeys(_ context.Context, in AppRequest) ([]Key, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	return viewKeys(a, true), nil
}

func (s *Service) retireKey(ctx context.Context, in RetireRequest) (Key, error) {
	k, err := s.Apps.RetireKey(ctx, in.ID, in.Key, in.Ends)
	return viewKey(k, false), err
}

func (s *Service) removeKey(ctx context.Context, in KeyRequest) (None, error) {
	return None{}, s.Apps.RemoveKey(ctx, in.ID, in.Key)
}

func (s *Service) addAdmin(ctx context.Context, in AccountRequest) ([]string, error) {
	a, err := s.Apps.AddAdmin(ctx, in.ID, in.Account)
	if err != nil {
		return nil, err
	}
	return a.Admins, nil
}

func (s *Service) removeAdmin(ctx context.Context, in AccountRequest) ([]string, error) {
	a, err := s.Apps.RemoveAdmin(ctx, in.ID, in.Account)
	if err != nil {
		return nil, err
	}
	return a.Admins, nil
}
