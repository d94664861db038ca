package admin

import (
	"context"
	"time"

	"tidings/internal/app"
)

type (
	// NewAppKeyRequest adds an AppKey; a new one if Secret is empty.
	NewAppKeyRequest struct {
		ID     uint32 `json:"sdkappid"`
		Name   string `json:"name,omitempty"`
		Secret string `json:"secret,omitempty"`
	}
	// AppKeyRequest names an AppKey.
	AppKeyRequest struct {
		ID  uint32 `json:"sdkappid"`
		Key int    `json:"key"`
	}
	// AppKey is an AppKey as the operator sees it: masked unless revealed.
	AppKey struct {
		ID      int       `json:"id"`
		Name    string    `json:"name,omitempty"`
		Secret  string    `json:"secret"`
		Created time.Time `json:"created"`
	}
)

func viewAppKey(k app.AppKey, reveal bool) AppKey {
	v := AppKey{k.ID, k.Name, k.Secret.String(), k.Created}
	if reveal {
		v.Secret = string(k.Secret)
	}
	return v
}

func (s *Service) viewAppKeys(id uint32, reveal bool) ([]AppKey, error) {
	a, err := s.find(id)
	if err != nil {
		return nil, err
	}
	list := []AppKey{}
	for _, k := range a.AppKeys {
		list = append(list, viewAppKey(k, reveal))
	}
	return list, nil
}

// addAppKey shows the AppKey: it is the moment to build it into a client app.
func (s *Service) addAppKey(ctx context.Context, in NewAppKeyRequest) (AppKey, error) {
	k, err := s.Apps.AddAppKey(ctx, in.ID, in.Name, app.Secret(in.Secret))
	if err != nil {
		return AppKey{}, err
	}
	return viewAppKey(k, true), nil
}

func (s *Service) listAppKeys(_ context.Context, in AppRequest) ([]AppKey, error) {
	return s.viewAppKeys(in.ID, false)
}

func (s *Service) revealAppKeys(_ context.Context, in AppRequest) ([]AppKey, error) {
	return s.viewAppKeys(in.ID, true)
}

func (s *Service) removeAppKey(ctx context.Context, in AppKeyRequest) (None, error) {
	return None{}, s.Apps.RemoveAppKey(ctx, in.ID, in.Key)
}
