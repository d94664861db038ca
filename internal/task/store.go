package task

import (
	"context"
	"errors"
	"time"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
)

// ErrUnknown is the error of a task that does not exist, or is kept no more.
var ErrUnknown = errors.New("no such task")

// ErrEnded is the error of a change to a task that has ended.
var ErrEnded = errors.New("the task has ended")

// A New is a task that is to be made.
type New struct {
	Command  string
	Caller   string
	From     string
	DataID   string
	Audience Audience
	Message  channel.Message
	Life     time.Duration // from now
	Random   uint32        // MsgRandom
	Body     [32]byte      // SHA-256 of the request body
	Key      string        // IdempotencyKey; empty: none
	Gapped   bool          // the gap and the daily quota of the app are for it: push, not batch
	// Nothing says why nothing is to be sent; empty: something is. Such a task is done at
	// once, with this Reason and without any unit.
	Nothing string
}

// A Receipt is the answer to a New.
type Receipt struct {
	ID       string
	Repeated bool               // it is the answer to an earlier request
	Failures []audience.Failure // receivers that were not accepted
}

// A Lane is what is sent with one certificate of an app. Certificate 0 is what cannot be
// sent at all.
type Lane struct {
	App         uint32
	Certificate int
}

// A Page is at most MaxPage devices of one lane of one task. One worker sends it.
type Page struct {
	Task  *Task // its message and life; not changed
	Lane  Lane
	Units []Unit
	Mark  any // of the Store
}

// MaxPage is the most units of a page (push.md, 2).
const MaxPage = 500

// A Unit is one device of a page, or in the lane of what cannot be sent one receiver
// without any.
type Unit struct {
	Account string // RegistrationID, or of a receiver without device the UserID; empty: it was deleted while it waited for another try
	Target  channel.Target
	Tries   int            // made so far
	Decided report.Outcome // in the lane of what cannot be sent: why
	Since   time.Time      // when its token was registered
}

// A Verdict is what becomes of a unit of a page: an outcome, or another try.
type Verdict struct {
	Outcome report.Outcome // 0: it is to be tried again, at Again
	Again   time.Time
	Status  int    // of HTTP
	Code    string // of the provider
	Words   string // of the provider
	Took    time.Duration
	Unsent  bool // it was not sent, or was refused with all others: the try does not count
	Retire  bool // take the token from the device, if the device still has it
}

// A Store keeps the tasks of apps. Like audience.Store its methods return when everything that
// they changed or return is durable; Create honours audience.WithAuthority.
//
// A device is in at most one page of a task, whichever lanes it is in at which moment, except
// that a page which was open when the process ended is cut anew. Devices are read when
// their page is opened: whose phone it is then, and by which token.
type Store interface {
	// Create makes a task. In one step, under the lock of the app, it looks for the answer
	// to an earlier request (the same Key; the same Random and Body within a second), then
	// at gap, daily quota and the number of pending tasks, then at the receivers. A refused
	// request uses up nothing. The audience of a batch is fixed with it.
	Create(ctx context.Context, app uint32, n *New) (Receipt, error)
	// Repeated returns the answer to an earlier request that Create would give to a request
	// again; nil if the request repeats none.
	Repeated(ctx context.Context, app uint32, n *New) (*Receipt, error)
	// Task returns a task as it is.
	Task(ctx context.Context, app uint32, id string) (*Task, error)
	// List returns a page of the tasks of an app, the latest first.
	List(ctx context.Context, app uint32, f Filter, limit int, after string) (tasks []*Task, next string, err error)
	// SetPaused pauses a task or lets it go on.
	SetPaused(ctx context.Context, app uint32, id string, paused bool) error
	// Receivers returns a page of the frozen audience, in the order of List of audience.Store.
	// A receiver that was deleted since is left out, and counted in deleted.
	Receivers(ctx context.Context, app uint32, id string, limit int, after string) (accounts []string, deleted int, next string, err error)
	// Explain returns what is known of an account and a task.
	Explain(ctx context.Context, app uint32, id, account string) (*Explanation, error)
	// Preview returns what a task would come to now. With accounts that cannot be receivers
	// it has their failures.
	Preview(ctx context.Context, app uint32, a *Audience) (*Preview, error)
	// Reported records that a device says that a message arrived, or was clicked. The report id
	// is that of a Target. What is forged, foreign, repeated or too old changes nothing and
	// is no error; new says whether it counted.
	Reported(ctx context.Context, app uint32, device, reportID string, event Event, at time.Time) (counted bool, err error)

	// Quota returns what an app may still push.
	Quota(ctx context.Context, app uint32) (Quota, error)

	// Active returns the tasks that have not ended, the oldest first. Made is called with each task
	// that Create makes, once it is durable; it must not block.
	Active(ctx context.Context, made func(Ref)) ([]*Task, error)
	// Get returns a task by its Ref; nil if it is kept no more.
	Get(ctx context.Context, r Ref) (*Task, error)
	// Freeze fixes the audience of a task, and brings it to Sending. An audience that cannot
	// be fixed any more brings it to Failed.
	Freeze(ctx context.Context, r Ref) error
	// Lanes returns the lanes of a task in which something may be left, those of its
	// devices only.
	Lanes(ctx context.Context, r Ref) ([]Lane, error)
	// Open opens the next page of a lane of a task: retries that are due, else devices that
	// were in no page; nil if there is none now. Then next is when a retry is due; zero: the
	// lane has nothing left but what is in open pages.
	Open(ctx context.Context, r Ref, lane Lane, limit int) (p *Page, next time.Time, err error)
	// Close records what became of the units of a page, all or nothing: outcomes, counts,
	// retries, retired tokens. When nothing is left of the task it ends in the same step, and ended
	// is true. Verdicts are in the order of the units.
	Close(ctx context.Context, p *Page, verdicts []Verdict) (ended bool, err error)
	// Abandon gives back a page of which nothing was sent.
	Abandon(p *Page)
	// End ends a task that is not done: what is left of it gets an outcome, Stopped or
	// Expired, but for what could not be sent anyway. Its open pages are closed first: who ends a
	// task has closed or abandoned them. A task that has ended is ErrEnded.
	End(ctx context.Context, r Ref, s State, reason string) error
	// RetireTokens takes the tokens from devices by which units were sent, if the devices
	// still have them, and returns how many it took.
	RetireTokens(ctx context.Context, r Ref, units []Gone) (int, error)
	// Expire drops what is kept no longer: tasks after their retention, answers to keys after a
	// day.
	Expire(ctx context.Context, now time.Time) error
}

// A Gone is a dead token.
type Gone struct {
	Account     string
	Certificate int
	Address     channel.Address
	Words       string
}

// A Filter selects tasks.
type Filter struct {
	States []State // none: all
	Since  time.Time
	Until  time.Time
	DataID string
}

// An Event is what a device reports.
type Event uint8

// The events.
const (
	Arrived Event = 1
	Clicked Event = 2
)

// An Explanation is what is known of an account and a task.
type Explanation struct {
	Task    *Task
	Exists  bool // the account exists now
	Fixed   bool // the audience of the task is fixed
	Chosen  bool // the account was in it, itself or through its user
	Dropped bool // what was kept of each device is kept no more, and neither is who was chosen
	Devices []Trace
}

// A Trace is what is known of a device and a task.
type Trace struct {
	Device  device.Device // as it was when its page was sent, or as it is if it was not
	Deleted bool          // since then: Device is empty
	Sent    bool          // its page is closed: the rest is known
	Waiting bool          // for its next try, or its turn
	Outcome report.Outcome
	Choice  device.Choice // by which it was or would be reached
	Tries   int
	Status  int
	Code    string
	Words   string // of the provider
	At      time.Time
	Took    time.Duration
	Arrived time.Time // zero: the device has not reported it
	Clicked time.Time
	Next    time.Time // of the next try
}

// A Preview is what a task would come to: exact, at one moment.
type Preview struct {
	Accounts uint64 // receivers
	Failures []audience.Failure
	Groups   []Group // of their devices, each device in one
	NoDevice uint64  // receivers without any device
}

// A Group is devices that a push treats alike.
type Group struct {
	Choice   device.Choice
	Language string
	Platform string
	Devices  uint64
	Sample   string // RegistrationID of one of them
}

// Quota is what the app may still push.
type Quota struct {
	Next    time.Time // when the gap ends
	Left    int       // pushes today; -1: no quota
	Anew    time.Time // when the quota starts anew
	Pending int       // tasks that have not ended
	Limit   int       // of them
}
