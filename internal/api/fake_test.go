package api_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/dispatch"
	"tidings/internal/report"
	"tidings/internal/task"
)

// memoryTasks keeps tasks in memory, as a task.Store promises to keep them as far as commands
// see it: answers to repeated requests, gap, quota and the number of tasks, receivers that do
// not exist. It sends nothing.
type memoryTasks struct {
	*events // what devices report
	users   audience.Store
	now     func() time.Time

	mu       sync.Mutex
	gap      time.Duration
	daily    int // 0: no quota
	limit    int
	pushed   int
	last     time.Time
	tasks    []*task.Task
	created  []*task.New
	answers  map[string]remembered
	preview  task.Preview
	explain  map[string]*task.Explanation // by account
	before   func(ctx context.Context) error
	accounts map[string][]string // by task
}

type remembered struct {
	body    [32]byte
	at      time.Time
	receipt task.Receipt
}

func newMemoryTasks(e *events, users audience.Store, now func() time.Time) *memoryTasks {
	return &memoryTasks{events: e, users: users, now: now, limit: 1000, answers: map[string]remembered{}, explain: map[string]*task.Explanation{}, accounts: map[string][]string{}}
}

func keyOf(app uint32, n *task.New) string { return fmt.Sprint(app, n.Command, " key ", n.Key) }

func randomOf(app uint32, n *task.New) string {
	return fmt.Sprint(app, n.Command, " random ", n.Random)
}

func (m *memoryTasks) Repeated(_ context.Context, app uint32, n *task.New) (*task.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.repeated(app, n)
}

func (m *memoryTasks) repeated(app uint32, n *task.New) (*task.Receipt, error) {
	now := m.now()
	r, ok := m.answers[keyOf(app, n)]
	if ok = ok && n.Key != "" && now.Sub(r.at) < 24*time.Hour; ok && r.body != n.Body {
		return nil, apierr.KeyReused.Errorf("IdempotencyKey %q was used for another request", n.Key)
	}
	if !ok {
		r, ok = m.answers[randomOf(app, n)]
		ok = ok && r.body == n.Body && now.Sub(r.at) < time.Second
	}
	if !ok {
		return nil, nil
	}
	r.receipt.Repeated = true
	return &r.receipt, nil
}

func (m *memoryTasks) Create(ctx context.Context, app uint32, n *task.New) (task.Receipt, error) {
	if !audience.Authorized(ctx) {
		return task.Receipt{}, audience.ErrStale
	}
	if m.before != nil {
		if err := m.before(ctx); err != nil {
			return task.Receipt{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if first, err := m.repeated(app, n); err != nil || first != nil {
		return *cmp.Or(first, &task.Receipt{}), err
	}
	now, keyed, random := m.now(), keyOf(app, n), randomOf(app, n)
	switch {
	case n.Gapped && !m.last.IsZero() && now.Sub(m.last) < m.gap:
		return task.Receipt{}, apierr.PushTooSoon.Errorf("the last push was %s ago", now.Sub(m.last))
	case n.Gapped && m.daily > 0 && m.pushed >= m.daily:
		return task.Receipt{}, apierr.PushQuotaUsed
	case m.pending() >= m.limit:
		return task.Receipt{}, apierr.TooManyTasks.Errorf("the app has %d unfinished tasks", m.limit)
	}
	var r task.Receipt
	var accepted []string
	if n.Audience.Accounts != nil {
		users, err := m.users.Users(ctx, app, n.Audience.Accounts)
		if err != nil {
			return r, err
		}
		for i, u := range users {
			if u.Exists {
				accepted = append(accepted, n.Audience.Accounts[i])
				continue
			}
			r.Failures = append(r.Failures, audience.Failure{Account: n.Audience.Accounts[i], Err: apierr.UnknownAccount.Errorf("account does not exist")})
		}
	}
	if n.Gapped {
		m.last, m.pushed = now, m.pushed+1
	}
	number := uint64(len(m.tasks) + 1)
	r.ID = fmt.Sprintf("task_%d", number)
	if n.Command == "batch" {
		r.ID = "batch_" + r.ID
	}
	a := n.Audience
	a.Accounts = nil
	t := &task.Task{
		Ref: task.Ref{App: app, Number: number}, ID: r.ID, Command: n.Command, Caller: n.Caller, From: n.From, DataID: n.DataID,
		Audience: a, Message: n.Message, Accepted: now, Ends: now.Add(n.Life), State: task.Accepted,
	}
	if n.Nothing != "" {
		t.State, t.Reason, t.Ended = task.Done, n.Nothing, now
	}
	m.tasks = append(m.tasks, t)
	m.created = append(m.created, n)
	m.accounts[r.ID] = accepted
	if n.Key != "" {
		m.answers[keyed] = remembered{n.Body, now, r}
	}
	m.answers[random] = remembered{n.Body, now, r}
	return r, nil
}

func (m *memoryTasks) pending() (n int) {
	for _, t := range m.tasks {
		if !t.State.Ended() {
			n++
		}
	}
	return n
}

func (m *memoryTasks) find(app uint32, id string) (*task.Task, error) {
	for _, t := range m.tasks {
		if t.App == app && t.ID == id {
			return t, nil
		}
	}
	return nil, task.ErrUnknown
}

func (m *memoryTasks) Task(_ context.Context, app uint32, id string) (*task.Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(app, id)
	if err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	c := *t
	return &c, nil
}

func (m *memoryTasks) List(_ context.Context, app uint32, f task.Filter, limit int, after string) (tasks []*task.Task, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	below := uint64(len(m.tasks) + 1)
	if after != "" {
		if below, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, "", apierr.PageExpired
		}
	}
	for _, t := range slices.Backward(m.tasks) {
		switch {
		case t.App != app || t.Number >= below,
			len(f.States) > 0 && !slices.Contains(f.States, t.State),
			!f.Since.IsZero() && t.Accepted.Before(f.Since), !f.Until.IsZero() && !t.Accepted.Before(f.Until),
			f.DataID != "" && t.DataID != f.DataID:
			continue
		case len(tasks) == limit:
			return tasks, strconv.FormatUint(tasks[limit-1].Number, 10), nil
		}
		tasks = append(tasks, t)
	}
	return tasks, "", nil
}

func (m *memoryTasks) SetPaused(_ context.Context, app uint32, id string, paused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(app, id)
	if err != nil {
		return err
	}
	if t.State.Ended() {
		return task.ErrEnded
	}
	t.Paused = paused
	return nil
}

func (m *memoryTasks) Receivers(_ context.Context, app uint32, id string, limit int, after string) (accounts []string, deleted int, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find(app, id); err != nil {
		return nil, 0, "", err
	}
	all := m.accounts[id]
	begin := 0
	if after != "" {
		if begin, err = strconv.Atoi(after); err != nil || begin > len(all) {
			return nil, 0, "", apierr.PageExpired
		}
	}
	end := min(begin+limit, len(all))
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[begin:end], 0, next, nil
}

func (m *memoryTasks) Explain(ctx context.Context, app uint32, id, account string) (*task.Explanation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(app, id)
	if err != nil {
		return nil, err
	}
	e := m.explain[account]
	if e == nil {
		users, err := m.users.Users(ctx, app, []string{account})
		if err != nil {
			return nil, err
		}
		e = &task.Explanation{Exists: users[0].Exists}
	}
	c := *e
	c.Devices = slices.Clone(e.Devices)
	if c.Task == nil {
		c.Task = t
	}
	return &c, nil
}

func (m *memoryTasks) Preview(ctx context.Context, app uint32, a *task.Audience) (*task.Preview, error) {
	if m.before != nil {
		if err := m.before(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.preview
	return &p, nil
}

func (m *memoryTasks) Quota(context.Context, uint32) (task.Quota, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := task.Quota{Left: -1, Pending: m.pending(), Limit: m.limit}
	if m.gap > 0 && !m.last.IsZero() {
		q.Next = m.last.Add(m.gap)
	}
	return q, nil
}

// memoryDispatcher answers as a dispatcher does that has one FCM certificate.
type memoryDispatcher struct {
	tasks   *memoryTasks
	status  dispatch.TaskStatus
	lanes   []dispatch.LaneStatus
	changed []task.Ref
	sender  *plainSender
	stuck   bool // a provider does not answer, so no task ends
}

func (d *memoryDispatcher) Task(task.Ref) (dispatch.TaskStatus, bool) { return d.status, true }

func (d *memoryDispatcher) Lanes(uint32) []dispatch.LaneStatus { return d.lanes }

// drivers are those of the tests, whose FCM opens the sender of the dispatcher.
func (d *memoryDispatcher) drivers() channel.Drivers {
	all := maps.Clone(drivers)
	all[channel.FCM] = openingDriver{all[channel.FCM], d}
	return all
}

type openingDriver struct {
	channel.Driver
	d *memoryDispatcher
}

func (o openingDriver) Open(c channel.Credential, _ *channel.Pace) (channel.Sender, error) {
	if o.d.sender == nil {
		return nil, fmt.Errorf("certificate %d cannot be used: its key is lost", c.Certificate)
	}
	return o.d.sender, nil
}

func (o openingDriver) Limits(channel.Options) channel.Limits { return o.d.sender.limits }

func (d *memoryDispatcher) Changed(r task.Ref) { d.changed = append(d.changed, r) }

func (d *memoryDispatcher) Stop(_ context.Context, r task.Ref, reason string) error {
	d.tasks.mu.Lock()
	defer d.tasks.mu.Unlock()
	t := d.tasks.tasks[r.Number-1]
	if t.State.Ended() {
		return task.ErrEnded
	}
	if d.stuck {
		return context.DeadlineExceeded
	}
	t.State, t.Reason, t.Ended = task.Stopped, reason, d.tasks.now()
	return nil
}

// plainSender makes payloads that show what it was given.
type plainSender struct {
	channel.Sender // of a method that is not called
	limits         channel.Limits
}

func (p *plainSender) Close() error { return nil }

func (p *plainSender) Payload(job *channel.Job, t *channel.Target) (channel.Payload, error) {
	if job.Message.Title == "too large" {
		return channel.Payload{}, errors.New("the message takes 5000 bytes, FCM takes 4096")
	}
	body := fmt.Appendf(nil, `{"token":%q,"title":%q,"language":%q,"badge":%d}`, t.Address, job.Message.Title, t.Language, t.Badge)
	return channel.Payload{Body: body, Bytes: len(body), Limit: 4096, Cuts: []string{"Title"}}, nil
}

// counted returns progress with one unit of each outcome.
func counted() task.Progress {
	var c report.Counts
	for o := report.Accepted; o < report.Outcomes; o++ {
		c[o] = uint64(o)
	}
	return task.Progress{Lanes: []task.LaneProgress{{Certificate: 1, Provider: channel.FCM, Counts: c}}, Retries: 3}
}
