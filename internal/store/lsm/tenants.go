package lsm

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// A tenant is an app with its users, in memory. Both are under one lock, so the admins
// and attributes of the app and the accounts of its users always agree.
type tenant struct {
	id uint32

	mu    sync.RWMutex
	app   *app.App // never changed, only replaced
	users *index.Users
	gone  bool        // the app is deleted, in group pos
	pos   journal.Pos // the group of the last change of anything
	// loaded is the position up to which a checkpoint had everything of the
	// tenant.
	loaded journal.Pos
	// last is the group of the last change, by the hash of the account. So a
	// reader may wait for a stranger's change, and never too little.
	last    [lastSize]journal.Pos
	deleted deletions
	pending pending

	estimates estimates
	pages     pages
	viewed    *view // the tenant as it is, if it was asked for since the last change
	asked     sync.Once
	questions turns // once asked
}

const lastSize = 64

// noUsers are those of deleted apps. They never change.
var noUsers = index.NewUsers()

// tenants are all apps with their users.
type tenants struct {
	journal   *journal.DB
	seed      maphash.Seed
	questions turns
	light     time.Duration // how long a question may take that is not asked of a view
	pacer     func() func()

	mu   sync.RWMutex
	byID map[uint32]*tenant
}

func newTenants() *tenants {
	return &tenants{seed: maphash.MakeSeed(), questions: questionTurns(), light: lightQuestion, pacer: pacer, byID: map[uint32]*tenant{}}
}

func newTenant(id uint32) *tenant {
	return &tenant{id: id, users: index.NewUsers()}
}

// all lists the tenants by SDKAppID, deleted ones too.
func (t *tenants) all() []*tenant {
	t.mu.RLock()
	list := make([]*tenant, 0, len(t.byID))
	for _, x := range t.byID {
		list = append(list, x)
	}
	t.mu.RUnlock()
	slices.SortFunc(list, func(a, b *tenant) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (t *tenants) find(id uint32) *tenant {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// drop forgets a tenant.
func (t *tenants) drop(x *tenant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[x.id] == x {
		delete(t.byID, x.id)
	}
}

// write calls f with a tenant that nobody else uses meanwhile, unless ctx has ended or
// has no authority any more (audience.WithAuthority), which is audience.ErrStale.
// Room in the log is reserved before, so f does not wait for the disk.
func (t *tenants) write(ctx context.Context, id uint32, bulk bool, f func(*tenant) error) error {
	if err := t.journal.Reserve(ctx, bulk); err != nil {
		return err
	}
	x := t.find(id)
	if x == nil {
		return t.unknown(ctx, id, 0)
	}
	pos, gone, err := func() (journal.Pos, bool, error) {
		x.mu.Lock()
		defer x.mu.Unlock()
		defer t.journal.Guard()
		if x.gone {
			return x.pos, true, nil
		}
		if err := ctx.Err(); err != nil { // while it waited for the lock
			return 0, false, context.Cause(ctx)
		}
		if !audience.Authorized(ctx) {
			return 0, false, audience.ErrStale
		}
		return 0, false, f(x)
	}()
	if gone {
		return t.unknown(ctx, id, pos)
	}
	return err
}

// read calls f with a tenant as it is after every change made before, and returns
// when all that f saw is durable.
func (t *tenants) read(ctx context.Context, id uint32, f func(*tenant) error) error {
	pos, err := t.look(ctx, id, f)
	if waited := t.journal.Wait(ctx, pos); waited != nil {
		return waited
	}
	return err
}

// look is read without waiting: what f saw rests on the group with position pos.
func (t *tenants) look(ctx context.Context, id uint32, f func(*tenant) error) (journal.Pos, error) {
	x := t.find(id)
	if x == nil {
		return 0, t.unknown(ctx, id, 0)
	}
	pos, gone, err := func() (journal.Pos, bool, error) {
		x.mu.RLock()
		defer x.mu.RUnlock()
		if x.gone {
			return x.pos, true, nil
		}
		if err := ctx.Err(); err != nil { // while it waited for the lock
			return 0, false, context.Cause(ctx)
		}
		return x.pos, false, f(x)
	}()
	if gone {
		return 0, t.unknown(ctx, id, pos)
	}
	return pos, err
}

// unknown returns the error for an app that does not exist, once the group in which it
// was deleted is durable; 0 is none.
func (t *tenants) unknown(ctx context.Context, id uint32, deleted journal.Pos) error {
	if err := t.journal.Wait(ctx, deleted); err != nil {
		return err
	}
	return apierr.UnknownApp.Errorf("app %d does not exist", id)
}

func (t *tenants) place(account string) int {
	return int(maphash.String(t.seed, account) % lastSize)
}

// touch records the group in which an account changed, or with 0 leaves the last one. It
// raises *pos to that of the last group in which the account may have changed.
func (t *tenants) touch(x *tenant, changed journal.Pos, account string, pos *journal.Pos) {
	last := &x.last[t.place(account)]
	if changed != 0 {
		*last = changed
	}
	*pos = max(*pos, *last)
}

// changed records that the tenant changed in a group; 0 is none.
func (x *tenant) changed(pos journal.Pos) {
	x.pos = max(x.pos, pos)
	x.viewed = nil
}
