package lsm

import (
	"cmp"
	"context"
	"runtime"
	"time"

	"tidings/internal/app"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// A view is a tenant as it was at one moment. Whatever takes long reads a view, so that
// nobody waits for it.
type view struct {
	app   *app.App
	users *index.View
	pos   journal.Pos // the group of the last change that it shows
}

// view returns the tenant as it is. The caller has locked it for a change. As long as
// nothing changes there is one view for all.
func (x *tenant) view() *view {
	if x.viewed == nil {
		x.viewed = &view{x.app, x.users.TakeView(), x.pos}
	}
	return x.viewed
}

// view returns an app as it is after every change made before. With it f, if there is
// one, is called while nobody can change the app. What the view shows may not be durable.
func (t *tenants) view(ctx context.Context, id uint32, f func(*tenant, *view)) (*view, error) {
	x := t.find(id)
	if x == nil {
		return nil, t.unknown(ctx, id, 0)
	}
	// Whoever locks the app for a change waits for all who read it, and those who come
	// meanwhile wait too. Most times there is a view already.
	x.mu.RLock()
	v := x.viewed
	if v != nil && f != nil {
		f(x, v)
	}
	x.mu.RUnlock()
	if v != nil {
		return v, nil
	}
	v, deleted := func() (*view, journal.Pos) {
		x.mu.Lock()
		defer x.mu.Unlock()
		defer t.journal.Guard()
		if x.gone {
			return nil, x.pos
		}
		v := x.view()
		if f != nil {
			f(x, v)
		}
		return v, 0
	}()
	if v == nil {
		return nil, t.unknown(ctx, id, deleted)
	}
	return v, nil
}

// lightQuestion is how long a question may take that is answered while nobody can change
// the app. Below it, what a view costs the changes after it would be more.
const lightQuestion = 2 * time.Millisecond

// A question about the users of an app.
type question struct {
	// prepare looks up what the answer needs. Nobody changes the users until the answer has
	// returned.
	prepare func(x *tenant, u *index.View) (nanoseconds int, answer func(yield func()) error, err error)
	list    *list // that the answer makes; nil: none
}

// ask answers a question, and returns when all that the answer rests on is durable.
// What would take long is asked of a view, when its turn comes.
func (t *tenants) ask(ctx context.Context, id uint32, q *question) error {
	heavy := false
	pos, err := t.look(ctx, id, func(x *tenant) error {
		cost, answer, err := q.prepare(x, &x.users.View)
		if heavy = err == nil && time.Duration(cost) > t.light; err != nil || heavy {
			return err
		}
		defer t.pin(x, q.list)()
		return answer(nil)
	})
	if !heavy {
		return cmp.Or(t.journal.Wait(ctx, pos), err) // an error rests on what was seen, too
	}
	x := t.find(id)
	if x == nil {
		return t.unknown(ctx, id, 0)
	}
	end, err := t.turn(ctx, x)
	if err != nil {
		return err
	}
	defer end()
	unpin := func() {}
	v, err := t.view(ctx, id, func(now *tenant, _ *view) {
		x = now // an app of the same number may have taken the place of one that is gone
		unpin = t.pin(x, q.list)
	})
	defer func() { unpin() }()
	if err != nil {
		return err
	}
	_, answer, err := q.prepare(x, v.users)
	if err == nil {
		err = answer(t.pacer())
	}
	return cmp.Or(t.journal.Wait(ctx, v.pos), err)
}

// pin keeps the numbers that a list will hold from being given out, until the function
// that it returns is called; the list may be kept by then. Nobody changes the app
// meanwhile, so whoever is deleted later is in no earlier group than the next.
func (t *tenants) pin(x *tenant, l *list) (unpin func()) {
	if l == nil {
		return func() {}
	}
	x.pages.begin(l, t.journal.Next())
	return func() { x.pages.abandon(l) }
}

// pacer returns a function to call every some microseconds of a long calculation. The
// system and Go let who calculates go on for milliseconds, and Go looks at what has come
// in from the network when a processor has nothing to do. So a calculation that has
// worked for some time rests for as long as it works, and longer when it keeps others
// waiting.
func pacer() func() {
	const slice, others, tired = 100 * time.Microsecond, 10 * time.Microsecond, 5 * time.Millisecond
	last, sum := time.Now(), time.Duration(0)
	return func() {
		began := time.Now()
		worked := began.Sub(last)
		if worked < slice {
			return
		}
		if sum += worked; sum < tired { // to wait for one's turn so often would take far longer
			last = began
			return
		}
		rest := worked
		if runtime.Gosched(); time.Since(began) > others {
			rest *= 3
		}
		time.Sleep(rest)
		last = time.Now()
	}
}

// turn waits until an app may be asked what takes long, and returns what ends the turn.
func (t *tenants) turn(ctx context.Context, x *tenant) (end func(), err error) {
	x.asked.Do(func() { x.questions = tenantTurns() })
	if err := x.questions.wait(ctx); err != nil {
		return nil, err
	}
	if err := t.questions.wait(ctx); err != nil {
		x.questions.end()
		return nil, err
	}
	return func() {
		t.questions.end()
		x.questions.end()
	}, nil
}

// turns bound how many go on at a time; the others wait for their turn.
type turns chan struct{}

func (t turns) wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turns) end() { <-t }

// Questions that take long may use half of the processors, and those of one app half of
// that: so what they take of memory is bounded, and other requests go on.
func questionTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

func tenantTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/4)) }
