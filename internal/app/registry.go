package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// A Store keeps apps over restarts. Each method returns when its change is durable. A
// write that has begun returns with its outcome, whatever becomes of ctx: the Registry,
// which keeps apps in memory, has to know what is stored.
type Store interface {
	Apps(ctx context.Context) ([]*App, error)
	// SaveApp also makes the accounts of its admins. An admin who is a
	// RegistrationID is apierr.WrongAccountKind, and nothing is saved.
	SaveApp(ctx context.Context, a *App) error
	DeleteApp(ctx context.Context, id uint32) error
}

// A Registry holds all apps. It is safe for concurrent use; reading takes no lock.
type Registry struct {
	store    Store
	commands []string
	apps     sync.Map // uint32 to *App; replaced by whoever holds its lock, and by Forget
	epoch    atomic.Uint64
	locks    locks // held while an app changes, is created or deleted

	mu     sync.Mutex
	closed bool           // no change begins any more; under mu
	writes sync.WaitGroup // to the store; begun under mu
}

// Open reads the apps of a store. Commands are the names that limits and
// switches may hold.
func Open(ctx context.Context, store Store, commands []string) (*Registry, error) {
	r := &Registry{store: store, commands: commands}
	apps, err := store.Apps(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		r.publish(a)
	}
	return r, nil
}

// publish makes a new state of an app visible, under an epoch that nobody has seen. So no
// ticket was verified under this epoch, whatever Forget published while the state was
// being saved.
func (r *Registry) publish(a *App) {
	a.Epoch = r.epoch.Add(1)
	r.apps.Store(a.ID, a)
}

// Close waits for the changes that are being written to the store, which may be
// closed then. Later changes fail.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.writes.Wait()
}

// App returns an app; nil if there is none.
func (r *Registry) App(id uint32) *App {
	if a, ok := r.apps.Load(id); ok {
		return a.(*App)
	}
	return nil
}

// Settled returns an app once no change of it is under way. A store knows of a change a
// moment before the registry does: a caller to whom the store reported the change gets
// the changed app here. No app is apierr.UnknownApp.
func (r *Registry) Settled(ctx context.Context, id uint32) (*App, error) {
	if err := r.locks.lock(ctx, id); err != nil {
		return nil, err
	}
	defer r.locks.unlock(id)
	if a := r.App(id); a != nil {
		return a, nil
	}
	return nil, unknown(id)
}

func unknown(id uint32) error { return apierr.UnknownApp.Errorf("app %d does not exist", id) }

// All returns the apps by SDKAppID.
func (r *Registry) All() []*App {
	var all []*App
	r.apps.Range(func(_, a any) bool {
		all = append(all, a.(*App))
		return true
	})
	slices.SortFunc(all, func(a, b *App) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// An Error is an operator's mistake: a request that cannot be carried out.
type Error struct{ Msg string }

func (e *Error) Error() string { return e.Msg }

func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// firstID is the SDKAppID of the first app whose declaration has none.
const firstID = 1400000001

// Create creates an app. A declaration without an SDKAppID gets the next free
// one, one without a key a new key.
func (r *Registry) Create(ctx context.Context, d Declaration) (*App, error) {
	create := func(old *App) (*App, error) {
		if old != nil {
			return nil, errorf("app %d exists already", d.ID)
		}
		return r.declared(nil, d)
	}
	if d.ID != 0 {
		return r.change(ctx, d.ID, create)
	}
	for id := uint32(firstID); ; id++ {
		// A number that another change is about to use is passed over.
		if r.App(id) != nil || !r.locks.tryLock(id) {
			continue
		}
		if r.App(id) == nil {
			d.ID = id
			return r.changeLocked(ctx, id, create)
		}
		r.locks.unlock(id)
	}
}

// Declare changes an app as a declaration says, and creates the app if need be.
func (r *Registry) Declare(ctx context.Context, d Declaration) (*App, error) {
	return r.change(ctx, d.ID, func(old *App) (*App, error) { return r.declared(old, d) })
}

// declared returns an app, or a new one if old is nil, changed as a declaration says.
func (r *Registry) declared(old *App, d Declaration) (*App, error) {
	if errs := d.Check(r.commands); len(errs) > 0 {
		texts := make([]string, len(errs))
		for i, e := range errs {
			texts[i] = e.Error()
		}
		return nil, errorf("%s", strings.Join(texts, "; "))
	}
	a := &App{ID: d.ID, Name: fmt.Sprintf("app %d", d.ID), Status: Enabled, Created: now(), Admins: []string{BuiltInAdmin}}
	if old != nil {
		a = old.clone()
	}
	if err := d.apply(a); err != nil {
		return nil, err
	}
	if old == nil && len(a.Keys) == 0 {
		a.addKey(Secret(randomSecret()), true)
	}
	if old != nil && old.equal(a) {
		return old, nil
	}
	return a, nil
}

// update changes one app. If f fails, nothing changes.
func (r *Registry) update(ctx context.Context, id uint32, f func(*App) error) (*App, error) {
	return r.change(ctx, id, func(old *App) (*App, error) {
		if old == nil {
			return nil, unknown(id)
		}
		a := old.clone()
		if err := f(a); err != nil {
			return nil, err
		}
		if old.equal(a) {
			return old, nil
		}
		return a, nil
	})
}

// change replaces an app by the result of f. The argument of f is the app as it is, nil if
// there is none. A nil result deletes the app. If f fails, or returns its argument, nothing
// changes.
//
// One change of an app is made at a time, so f sees the outcome of the change before. The
// changes of other apps go on meanwhile.
//
// The registry holds what is stored, so a write that has begun is waited for, and its
// outcome published, even if ctx ends before. The caller then gets the cause of ctx and does
// not know the outcome, and the next change of the app waits for the write.
//
// A change for which ctx has no authority any more (audience.WithAuthority) fails with
// audience.ErrStale.
func (r *Registry) change(ctx context.Context, id uint32, f func(old *App) (*App, error)) (*App, error) {
	if err := r.locks.lock(ctx, id); err != nil {
		return nil, err
	}
	return r.changeLocked(ctx, id, f)
}

// changeLocked is change for a caller who has taken the lock. It releases the lock.
func (r *Registry) changeLocked(ctx context.Context, id uint32, f func(old *App) (*App, error)) (*App, error) {
	locked := true
	defer func() {
		if locked {
			r.locks.unlock(id)
		}
	}()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !audience.Authorized(ctx) {
		return nil, audience.ErrStale
	}
	old := r.App(id)
	a, err := f(old)
	if err != nil {
		return nil, err
	}
	if a == old {
		return old, nil
	}
	done, err := r.write(ctx, id, a)
	if err != nil {
		return nil, err
	}
	locked = false // write releases the lock
	select {
	case err := <-done:
		if e := apierr.From(err); err != nil && e.Kind == apierr.WrongAccountKind {
			return nil, errorf("an admin of app %d has to be a UserID: %s", id, e.Info())
		}
		if err != nil {
			return nil, err
		}
		return a, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// errClosed is the error of changes after Close.
var errClosed = errors.New("the apps are closed")

// write begins to store an app, or to delete the app if a is nil. When the store is done,
// the outcome is published, the lock of the app is released, and the error is sent.
func (r *Registry) write(ctx context.Context, id uint32, a *App) (<-chan error, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	ctx = context.WithoutCancel(ctx)
	done := make(chan error, 1)
	r.writes.Go(func() {
		var err error
		if a == nil {
			if err = r.store.DeleteApp(ctx, id); err == nil {
				r.apps.Delete(id)
			}
		} else if err = r.store.SaveApp(ctx, a); err == nil {
			r.publish(a)
		}
		r.locks.unlock(id)
		done <- err
	})
	return done, nil
}

// SetStatus enables, disables or suspends an app.
func (r *Registry) SetStatus(ctx context.Context, id uint32, s Status) (*App, error) {
	return r.update(ctx, id, func(a *App) error { a.Status = s; return nil })
}

// Delete deletes a disabled app with everything in it.
func (r *Registry) Delete(ctx context.Context, id uint32) error {
	_, err := r.change(ctx, id, func(old *App) (*App, error) {
		switch {
		case old == nil:
			return nil, unknown(id)
		case old.Status != Disabled:
			return nil, errorf("app %d is %s; only a disabled app can be deleted", id, old.Status)
		}
		return nil, nil
	})
	return err
}

// AddKey adds a key to an app, with a new secret if secret is empty. With a new primary key
// the primary key before it is retiring, without an end.
func (r *Registry) AddKey(ctx context.Context, id uint32, secret Secret, primary bool) (Key, error) {
	if secret == "" {
		secret = Secret(randomSecret())
	} else if err := checkSecret(string(secret)); err != nil {
		return Key{}, errorf("the key %v", err)
	}
	var added Key
	_, err := r.update(ctx, id, func(a *App) error {
		for _, k := range a.Keys {
			if k.Secret == secret {
				return errorf("app %d has this key already, as key %d", id, k.ID)
			}
		}
		if len(a.Keys) >= maxKeys {
			return errorf("app %d has %d keys, remove one first", id, len(a.Keys))
		}
		added = a.addKey(secret, primary || len(a.Keys) == 0)
		return nil
	})
	return added, err
}

// RetireKey sets when a key ends; the zero time is never. The primary key cannot end.
func (r *Registry) RetireKey(ctx context.Context, id uint32, key int, ends time.Time) (Key, error) {
	var retired Key
	_, err := r.update(ctx, id, func(a *App) error {
		k := a.key(key)
		if k == nil {
			return errorf("app %d has no key %d", id, key)
		}
		if k.Primary {
			return errorf("key %d is the primary key of app %d: add another primary key first", key, id)
		}
		k.Ends = ends.UTC()
		retired = *k
		return nil
	})
	return retired, err
}

// RemoveKey removes a key at once: tickets made with it fail from now on.
func (r *Registry) RemoveKey(ctx context.Context, id uint32, key int) error {
	_, err := r.update(ctx, id, func(a *App) error {
		if a.key(key) == nil {
			return errorf("app %d has no key %d", id, key)
		}
		a.Keys = slices.DeleteFunc(a.Keys, func(k Key) bool { return k.ID == key })
		return nil
	})
	return err
}

// AddAdmin adds an account to the admins of an app, and creates the account if need be. A
// RegistrationID cannot be an admin.
func (r *Registry) AddAdmin(ctx context.Context, id uint32, account string) (*App, error) {
	return r.update(ctx, id, func(a *App) error {
		if err := a.Settings.UserIDs.Check(account); err != nil {
			return errorf("the account %v", err)
		}
		return a.setAdmins(append(a.Admins, account))
	})
}

// RemoveAdmin takes an account out of the admins. The account stays.
func (r *Registry) RemoveAdmin(ctx context.Context, id uint32, account string) (*App, error) {
	return r.update(ctx, id, func(a *App) error {
		if account == BuiltInAdmin {
			return errorf("%s is built in and stays an admin", BuiltInAdmin)
		}
		if !a.IsAdmin(account) {
			return errorf("%q is no admin of app %d", account, id)
		}
		return a.setAdmins(slices.DeleteFunc(slices.Clone(a.Admins), func(s string) bool { return s == account }))
	})
}

// NameAttributes names slots, and fixes the account type of slots that are named for the
// first time. Slots that are not in names stay as they are. A name that another slot has
// after the change, or another account type, is 90033 and changes nothing.
// Contract: spec/timpush-api.md, 3.1.
func (r *Registry) NameAttributes(ctx context.Context, id uint32, names map[int]string, kinds map[int]audience.Kind) error {
	_, err := r.update(ctx, id, func(a *App) error { return a.nameAttributes(names, kinds) })
	return err
}

// AddAttributes names slots that have no name yet, for a file that is imported, and returns
// the changed app. If a slot of attrs has another name in the app, the error is 90033 and
// nothing changes.
func (r *Registry) AddAttributes(ctx context.Context, id uint32, attrs *audience.Attributes) (*App, error) {
	return r.update(ctx, id, func(a *App) error {
		merged, err := a.Attributes.Merged(attrs)
		if err != nil {
			return err
		}
		a.Attributes = merged
		return nil
	})
}

// Renew gives an app a new epoch, so that every ticket is verified again, if the app is
// still a. It returns the app with the new epoch; nil if the app has changed.
func (r *Registry) Renew(a *App) *App {
	fresh := *a
	fresh.Epoch = r.epoch.Add(1)
	if !r.apps.CompareAndSwap(a.ID, a, &fresh) {
		return nil
	}
	return &fresh
}

// Forget gives an app a new epoch, so that every ticket is verified again, after one of its
// accounts was kicked. It does not wait for a change of the app that is being saved: that
// change publishes the app under a new epoch too.
func (r *Registry) Forget(id uint32) {
	for {
		old := r.App(id)
		if old == nil {
			return
		}
		if r.Renew(old) != nil {
			return
		}
	}
}

func randomSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return NewSecret(b)
}
