package lsm

import (
	"context"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/task"
)

// day returns the day of a moment, as the quota of an app counts days.
func day(s *app.Settings, now time.Time) string { return now.In(s.QuotaZone()).Format(time.DateOnly) }

// today returns how many pushes were made on a day. Days do not go back, so that a clock
// that does gives no second quota.
func (p *pushed) today(day string) int {
	if day > p.Day {
		return 0
	}
	return p.Pushes
}

// push counts a push.
func (p *pushed) push(s *app.Settings, now time.Time) {
	today := day(s, now)
	p.Pushes = p.today(today) + 1
	p.Day = max(p.Day, today)
}

// allows returns why another task cannot be made now; nil if it can.
func (t *tenantTasks) allows(s *app.Settings, gapped bool, now time.Time) error {
	most := s.PendingTasks()
	if n, full := t.full(most); full {
		return apierr.TooManyTasks.Errorf("%d tasks of the app have not ended, it may have %d", n, most)
	}
	if !gapped {
		return nil
	}
	if wait := t.gap(s, now); wait > 0 {
		return apierr.PushTooSoon.Errorf("the push before was less than %v ago, wait %v", s.PushGap(), wait.Round(time.Millisecond))
	}
	if n, most := t.pushed.today(day(s, now)), s.Push.Quota; most > 0 && n >= most {
		return apierr.PushQuotaUsed.Errorf("the app has made %d pushes today, it may make %d; the next day begins at %s", n, most, nextDay(s, now).Format(time.RFC3339))
	}
	return nil
}

// gap returns how long the next push must wait. It goes by the monotonic clock.
func (t *tenantTasks) gap(s *app.Settings, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.IsZero() {
		return 0
	}
	return max(s.PushGap()-now.Sub(t.last), 0)
}

// nextDay returns when the next day of the quota begins.
func nextDay(s *app.Settings, now time.Time) time.Time {
	zone := s.QuotaZone()
	y, m, d := now.In(zone).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, zone)
}

// Quota returns what an app may still push.
func (t *Tasks) Quota(ctx context.Context, app uint32) (q task.Quota, err error) {
	err = t.read(ctx, app, func(x *tenant) error {
		now, s := time.Now(), &x.app.Settings
		q = task.Quota{Next: now.Add(x.tasks.gap(s, now)), Left: -1, Anew: nextDay(s, now), Pending: x.tasks.pendingTasks(), Limit: s.PendingTasks()}
		if s.Push.Quota > 0 {
			q.Left = max(s.Push.Quota-x.tasks.pushed.today(day(s, now)), 0)
		}
		return nil
	})
	return q, err
}
