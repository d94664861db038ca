package app

import (
	"context"
	"crypto/subtle"
	"slices"
	"time"
)

// An AppKey ships in client apps and is no secret for long: it permits nothing but making
// a device. An app has several, so that one that is misused can be taken away.
type AppKey struct { //nolint:revive // an app.Key is something else, and AppKey is the word of the contract
	ID      int       `json:"id"` // counts from 1 in the app, never reused
	Secret  Secret    `json:"secret"`
	Name    string    `json:"name,omitempty"` // where it ships: "android"
	Created time.Time `json:"created"`
}

// maxAppKeys bounds the work of HasAppKey, which compares with each.
const maxAppKeys = 20

// HasAppKey reports whether a text is an AppKey of the app, in a time that does not tell
// how much of it is right.
func (a *App) HasAppKey(text string) bool {
	found := 0
	for _, k := range a.AppKeys {
		found |= subtle.ConstantTimeCompare([]byte(k.Secret), []byte(text))
	}
	return found == 1
}

// AddAppKey adds an AppKey to an app, a new one if secret is empty.
func (r *Registry) AddAppKey(ctx context.Context, id uint32, name string, secret Secret) (AppKey, error) {
	if secret == "" {
		secret = Secret(randomSecret())
	} else if err := checkSecret(string(secret)); err != nil {
		return AppKey{}, errorf("the AppKey %v", err)
	}
	if err := checkLabel(name); err != nil {
		return AppKey{}, err
	}
	var added AppKey
	_, err := r.update(ctx, id, func(a *App) (err error) {
		if k := a.appKey(secret); k != nil {
			return errorf("app %d has this AppKey already, as AppKey %d", id, k.ID)
		}
		added, err = a.addAppKey(secret, name)
		return err
	})
	return added, err
}

func (a *App) appKey(secret Secret) *AppKey {
	if i := slices.IndexFunc(a.AppKeys, func(k AppKey) bool { return k.Secret == secret }); i >= 0 {
		return &a.AppKeys[i]
	}
	return nil
}

func (a *App) addAppKey(secret Secret, name string) (AppKey, error) {
	if len(a.AppKeys) >= maxAppKeys {
		return AppKey{}, errorf("app %d has %d AppKeys, remove one first", a.ID, len(a.AppKeys))
	}
	a.NextAppKey++
	k := AppKey{ID: a.NextAppKey, Secret: secret, Name: name, Created: now()}
	a.AppKeys = append(a.AppKeys, k)
	return k, nil
}

// declareAppKeys adds the AppKeys of a declaration that the app has not.
func (a *App) declareAppKeys(secrets []string) error {
	for _, s := range secrets {
		if a.appKey(Secret(s)) != nil {
			continue
		}
		if _, err := a.addAppKey(Secret(s), ""); err != nil {
			return err
		}
	}
	return nil
}

// RemoveAppKey removes an AppKey at once: client apps with it make no more devices. Devices
// that exist stay.
func (r *Registry) RemoveAppKey(ctx context.Context, id uint32, key int) error {
	_, err := r.update(ctx, id, func(a *App) error {
		i := slices.IndexFunc(a.AppKeys, func(k AppKey) bool { return k.ID == key })
		if i < 0 {
			return errorf("app %d has no AppKey %d", id, key)
		}
		a.AppKeys = slices.Delete(a.AppKeys, i, i+1)
		return nil
	})
	return err
}
