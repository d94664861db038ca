package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/gate"
	"tidings/internal/task"
)

// Limits of a push, in UTF-8 bytes (spec/timpush-api.md, 2.6; spec/README.md).
const (
	maxDataIDBytes = 64
	maxKeyBytes    = 64
	maxReceivers   = 500
)

// pushOptions are the members that all pushes have. LifeTime, IdempotencyKey, Overrides and
// DryRun are ours.
type pushOptions struct {
	DataID    string     `json:"DataId" note:"at most 64 bytes"`         // An id of the caller's own, which comes back in callbacks.
	LifeTime  *int64     `range:"0-2419200"`                             // How many seconds the push waits for devices that cannot be reached; 0 is now or never. It is the app's lifetime if it is absent, and 0 for Live Activities and VoIP.
	Key       string     `json:"IdempotencyKey" note:"at most 64 bytes"` // A name for this push. For a day the same request with the same key gets the first answer, and pushes nothing.
	Overrides *overrides `strict:"yes"`                                  // Parts of what providers get, merged after all other fields.
	DryRun    int64      `range:"0-1"`                                   // 1 checks the push and says what it would come to, and pushes nothing.
}

type pushRequest struct {
	_      struct{} `near:"Condition Where DryRun PlanId"`
	From   *string  `json:"From_Account" account:"yes"`                             // The sender, an account that exists. It is the caller if it is absent.
	Random int64    `json:"MsgRandom" need:"yes" range:"0-4294967295" code:"90005"` // A random number. The same request with the same number within a second gets the first answer, and pushes nothing.
	aim
	Info        *offlinePush `json:"OfflinePushInfo" code:"90043"`                       // The notification. It may be absent if there is a MsgBody.
	Body        []msgElement `json:"MsgBody" code:"90007" inside:"90010" items:"1-1000"` // A chat message, whose text is that of the notification if OfflinePushInfo has none.
	OnlineOnly  int64        `json:"OnlineOnlyFlag" range:"0-1"`                         // Whether a chat message is kept. Nothing is kept yet.
	MsgLifeTime int64        `range:"0-604800" code:"90026"`                             // Accepted for older clients, and not used.
	pushOptions
	PlanID string `json:"PlanId"` // The plan of a preview. The push is refused with 95011 if it is not what was previewed.
}

type pushResponse struct {
	TaskID  string   `json:"TaskId"`                 // The id of the task, or empty with DryRun.
	Preview *preview `json:",omitempty" newer:"yes"` // What the push would come to, with DryRun.
}

// push pushes to everyone, or to those whom a condition selects. The answer means that the
// task is on disk: it is carried out whatever happens to the server. An app may push once in
// a second and has a daily quota if it is set; what is refused uses up nothing of them.
// Contract: spec/timpush-api.md, 6.
func (s *Server) push(ctx context.Context, c *gate.Caller, in *pushRequest) (out pushResponse, err error) {
	r := in.request("push")
	n, err := s.draft(ctx, c, r)
	if err != nil {
		return out, err
	}
	if in.DryRun == 1 {
		out.Preview, err = s.preview(ctx, c, n)
		return out, err
	}
	if in.PlanID != "" {
		switch first, err := s.tasks.Repeated(ctx, c.App.ID, n); {
		case err != nil:
			return out, err
		case first != nil: // a retry gets its answer, whatever became of the plan
			return pushResponse{TaskID: first.ID}, nil
		}
		if err := s.checkPlan(ctx, c, n, in.PlanID); err != nil {
			return out, err
		}
	}
	receipt, err := s.tasks.Create(ctx, c.App.ID, n)
	out.TaskID = receipt.ID
	return out, err
}

func (in *pushRequest) request(command string) *request {
	return &request{
		command: command, from: in.From, random: in.Random, aim: &in.aim, options: &in.pushOptions, gapped: true,
		content: content{in.Info, in.Body, in.Overrides, apierr.BadOfflinePush},
	}
}

type imPushRequest struct {
	_      struct{} `near:"Condition Where DryRun PlanId"`
	From   *string  `json:"From_Account" account:"yes"`                             // The sender, an account that exists. It is the caller if it is absent.
	Random int64    `json:"MsgRandom" need:"yes" range:"0-4294967295" code:"90005"` // A random number. The same request with the same number within a second gets the first answer, and pushes nothing.
	// The condition of a push, without TagsNot.
	Condition   *imCondition `strict:"yes"`
	Where       *string      `note:"at most 16 KiB"`                                                // An expression, in place of Condition.
	Info        *offlinePush `json:"OfflinePushInfo" code:"90043"`                                  // The notification, in place of what MsgBody says.
	Body        []msgElement `json:"MsgBody" need:"yes" code:"90007" inside:"90010" items:"1-1000"` // A chat message.
	MsgLifeTime int64        `range:"0-604800" code:"90026"`                                        // Accepted, and not used.
}

// imCondition is a Condition of the older family.
type imCondition struct {
	TagsAnd  []string     `items:"0-10"` // The user has all of these tags.
	TagsOr   []string     `items:"0-10"` // The user has at least one of these tags.
	AttrsAnd gate.Members `items:"0-10"` // The user has all of these values, by the name of the attribute.
	AttrsOr  gate.Members `items:"0-10"` // The user has at least one of these values.
}

// imPush is push of the older family. Contract: spec/timpush-api.md, 14.
func (s *Server) imPush(ctx context.Context, c *gate.Caller, in *imPushRequest) (out pushResponse, err error) {
	whole := pushRequest{From: in.From, Random: in.Random, Info: in.Info, Body: in.Body}
	whole.Where = in.Where
	if o := in.Condition; o != nil {
		whole.Condition = &condition{TagsAnd: o.TagsAnd, TagsOr: o.TagsOr, AttrsAnd: o.AttrsAnd, AttrsOr: o.AttrsOr}
	}
	n, err := s.draft(ctx, c, whole.request("im_push"))
	if err != nil {
		return out, err
	}
	receipt, err := s.tasks.Create(ctx, c.App.ID, n)
	out.TaskID = receipt.ID
	return out, err
}

type batchRequest struct {
	_        struct{}     `near:"Condition Where DryRun PlanId"`
	From     string       `json:"From_Account" need:"yes" account:"yes"`                                        // The sender, an account that exists.
	Accounts []string     `json:"To_Account" need:"yes" account:"yes" items:"1-500" over:"90011"`               // The receivers: UserIDs, which stand for all devices of the user, and RegistrationIDs.
	Random   int64        `json:"MsgRandom" need:"yes" range:"0-4294967295" text:"Invalid format of MsgRandom"` // A random number. The same request with the same number within a second gets the first answer, and pushes nothing.
	Info     *offlinePush `json:"OfflinePushInfo" need:"yes"`                                                   // The notification.
	pushOptions
}

type batchResponse struct {
	pushResponse
	accountErrors
}

// batch pushes to at most 500 accounts. Accounts that do not exist are in ErrorList, and the
// others get the push. It has no gap and no quota. The answer means that the task is on
// disk. Contract: spec/timpush-api.md, 7.
func (s *Server) batch(ctx context.Context, c *gate.Caller, in *batchRequest) (out batchResponse, err error) {
	n, err := s.draft(ctx, c, in.request())
	if err != nil {
		return out, err
	}
	if in.DryRun == 1 {
		out.Preview, err = s.preview(ctx, c, n)
		return out, err
	}
	receipt, err := s.tasks.Create(ctx, c.App.ID, n)
	out.TaskID, out.accountErrors = receipt.ID, errorList(c, receipt.Failures)
	return out, err
}

func (in *batchRequest) request() *request {
	return &request{
		command: "batch", from: &in.From, random: in.Random, accounts: in.Accounts, options: &in.pushOptions,
		content: content{in.Info, nil, in.Overrides, apierr.BadJSON},
	}
}

// A request is what push, im_push, batch and preview_push have in common.
type request struct {
	command  string
	from     *string
	random   int64
	aim      *aim     // of what is no batch
	accounts []string // of a batch
	content  content
	options  *pushOptions
	gapped   bool
}

// draft makes a task of a request, after the checks that look at the whole of it and use up
// nothing (spec/timpush-api.md, 2.7; spec/README.md).
func (s *Server) draft(ctx context.Context, c *gate.Caller, r *request) (*task.New, error) {
	n := &task.New{
		Command: r.command, Caller: c.Name, DataID: r.options.DataID, Random: uint32(r.random), Body: c.Body, Key: r.options.Key, Gapped: r.gapped,
	}
	if r.content.info == nil && r.content.body == nil { // one of them is a required field, and those are first
		return nil, apierr.BadJSON.Errorf("neither OfflinePushInfo nor MsgBody is there")
	}
	if len(n.DataID) > maxDataIDBytes {
		return nil, apierr.DataIDTooLong.Errorf("DataId has %d bytes, it may have %d", len(n.DataID), maxDataIDBytes)
	}
	if len(n.Key) > maxKeyBytes {
		return nil, apierr.BadJSON.Errorf("IdempotencyKey has %d bytes, it may have %d", len(n.Key), maxKeyBytes)
	}
	var err error
	if n.Message, n.Nothing, err = s.message(&r.content); err != nil {
		return nil, err
	}
	n.Life = life(c, r.options, &n.Message)
	if r.aim == nil {
		n.Audience = task.Audience{Accounts: r.accounts, Named: len(r.accounts)}
	} else if n.Audience, err = s.audience(ctx, c, r.aim); err != nil {
		return nil, err
	}
	if n.From, err = s.sender(ctx, c, r.from); err != nil {
		return nil, err
	}
	switch {
	case c.App.Settings.Push.Off:
		return nil, apierr.PushDisabled.Errorf("the setting push of app %d is off", c.App.ID)
	case len(c.App.Certificates) == 0:
		return nil, apierr.PushDisabled.Errorf("app %d has no certificate: nothing can be reached; add one with tidings channel add", c.App.ID)
	}
	return n, nil
}

// life returns how long a push waits (push.md, 2).
func life(c *gate.Caller, o *pushOptions, m *channel.Message) time.Duration {
	switch {
	case o.LifeTime != nil:
		return time.Duration(*o.LifeTime) * time.Second
	case m.Apple.VoIP, m.Apple.LiveActivity != nil:
		return 0
	}
	return c.App.Settings.Lifetime()
}

// audience checks whom a push is for. The older family knows UserIDs only.
func (s *Server) audience(ctx context.Context, c *gate.Caller, in *aim) (a task.Audience, err error) {
	if in.Where != nil && strings.TrimSpace(*in.Where) == "" {
		return a, apierr.BadJSON.Errorf("Where is empty; leave it out to push to everyone")
	}
	q := audience.Query{Attributes: &c.App.Attributes, Kind: audience.UserID}
	if q.Expr, err = in.expr(q.Attributes); err != nil {
		return a, err
	}
	a = task.Audience{Attributes: q.Attributes}
	if all, ok := q.Expr.(audience.And); ok && len(all) == 0 && !c.Older {
		return a, nil
	}
	if a.Where = q.Expr.String(); len(a.Where) > audience.MaxWhereBytes {
		return a, apierr.WhereTooLarge.Errorf("the expression has %d bytes in its canonical form, it may have %d", len(a.Where), audience.MaxWhereBytes)
	}
	return a, s.checkKinds(ctx, c, q)
}

// checkKinds refuses an expression whose attributes or tags are for different account types, and
// for the older family one that selects RegistrationIDs.
func (s *Server) checkKinds(ctx context.Context, c *gate.Caller, q audience.Query) error {
	e, err := s.users.Estimate(ctx, c.App.ID, q, 1)
	if err != nil || !c.Older || len(e.Sample) == 0 {
		return err
	}
	users, err := s.users.Users(ctx, c.App.ID, e.Sample)
	if err == nil && users[0].Exists && users[0].Kind != audience.UserID {
		err = apierr.WrongAccountKind.Errorf("the condition selects RegistrationIDs, which this command does not know")
	}
	return err
}

// sender checks From_Account. Without it the caller is the sender (spec/timpush-api.md, O-11).
func (s *Server) sender(ctx context.Context, c *gate.Caller, from *string) (string, error) {
	if from == nil || *from == c.Name {
		return c.Name, nil
	}
	if c.App.IsAdmin(*from) {
		return *from, nil
	}
	users, err := s.users.Users(ctx, c.App.ID, []string{*from})
	if err != nil {
		return "", err
	}
	if !users[0].Exists || c.Older && users[0].Kind != audience.UserID {
		return "", apierr.UnknownSender.Errorf("From_Account %s does not exist", gate.Quote(*from))
	}
	return *from, nil
}

// message makes a message of a content, and asks the providers about what is merged into it.
func (s *Server) message(c *content) (m channel.Message, nothing string, err error) {
	if m, nothing, err = c.message(); err != nil || m.Overrides.Fcm == nil || s.checkFCM == nil {
		return m, nothing, err
	}
	if err := s.checkFCM(m.Overrides.Fcm); err != nil {
		return m, "", apierr.BadJSON.Errorf("%v", err)
	}
	return m, nothing, nil
}

// at returns a moment as answers have it: Unix seconds, 0 for none.
func at(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// differs reports whether two counts differ by more than so many percent of the first.
func differs(before, now uint64, percent int) bool {
	diff := max(before, now) - min(before, now)
	return diff*100 > uint64(percent)*before
}

// plural returns a number with a word, in the plural unless it is one.
func plural(n uint64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
