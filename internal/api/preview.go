package api

import (
	"cmp"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/dispatch"
	"tidings/internal/gate"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A Dispatcher is what carries out tasks, as far as the commands need it: package dispatch.
type Dispatcher interface {
	Task(r task.Ref) (dispatch.TaskStatus, bool)
	Lanes(app uint32) []dispatch.LaneStatus
	Changed(r task.Ref)
	Stop(ctx context.Context, r task.Ref, reason string) error
}

type previewRequest struct {
	_        struct{} `near:"Condition Where DryRun PlanId"`
	From     *string  `json:"From_Account" account:"yes"`                          // The sender.
	Random   int64    `json:"MsgRandom" range:"0-4294967295"`                      // Not used, so that the body of a push can be sent as it is.
	Accounts []string `json:"To_Account" account:"yes" items:"0-500" over:"90011"` // The receivers of a batch, in place of Condition and Where.
	aim
	Info        *offlinePush `json:"OfflinePushInfo" code:"90043" loose:"yes"`                       // The notification.
	Body        []msgElement `json:"MsgBody" code:"90007" inside:"90010" items:"1-1000" loose:"yes"` // A chat message.
	OnlineOnly  int64        `json:"OnlineOnlyFlag" range:"0-1"`                                     // Not used.
	MsgLifeTime int64        `range:"0-604800" code:"90026"`                                         // Not used.
	pushOptions
	PlanID string `json:"PlanId"` // Not used.
}

// preview is what a push would come to.
type preview struct {
	PlanID   string         `json:"PlanId"` // An id of what was previewed, for PlanId of push.
	PlanEnds int64          // When the plan ends, as Unix time.
	Accounts uint64         // How many accounts are in the audience.
	Devices  uint64         // How many devices it would be sent to.
	NoDevice uint64         // How many of the accounts have no device.
	Nothing  string         `json:",omitempty"` // Why nothing would be sent, if so.
	Groups   []previewGroup // The devices it would be sent to, by certificate, kind of token, language and platform; the largest first.
	LeftOut  []leftOut      // The devices it would not be sent to, by reason, language and platform; the largest first.
	More     int            `json:",omitzero"` // How many groups are not shown.
	Quota    quota          // What the app may still push.
	First    int64          // When the first message would be sent, as Unix time; 0 if none would.
	Last     int64          // When the last message would be sent if nothing else is sent, as Unix time; 0 if that is not known.
	Pace     int            // Messages a second at most, by all certificates; 0 is as fast as the providers take them.
	accountErrors
}

// previewGroup is devices that are reached alike.
type previewGroup struct {
	Provider    channel.Provider  // The provider: apns, fcm, webpush and so on.
	Certificate int               // The id of the certificate.
	Kind        channel.TokenKind // The kind of token.
	Language    string            // The language of the devices, BCP 47; empty if they do not say.
	Platform    string            // The platform of the devices.
	Devices     uint64            // How many there are.
	Sample      string            `json:",omitempty"` // The RegistrationID of one of them.
	Payload     *payload          `json:",omitempty"` // What that device would get.
	Problem     string            `json:",omitempty"` // Why the message cannot be made for that device.
}

// payload is what a provider would get for one device.
type payload struct {
	Body    jsonBody          // What is sent, with the token cut to its last characters.
	Bytes   int               // The bytes that count at the limit of the provider.
	Limit   int               // The limit of the provider.
	Cuts    []string          `json:",omitempty"` // Fields that were cut.
	Headers map[string]string `json:",omitempty"` // Headers that matter.
}

// leftOut is devices that a push does not reach.
type leftOut struct {
	Reason   string // The outcome that they would get: no certificate, no token, permission off.
	Why      string // What that means.
	Language string // The language of the devices.
	Platform string // The platform of the devices.
	Devices  uint64 // How many there are.
	Sample   string `json:",omitempty"` // The RegistrationID of one of them.
}

// quota is what an app may still push.
type quota struct {
	Next    int64 // When the app may push next, as Unix time; 0 is now.
	Left    int   // Pushes left today; -1 is any number.
	Anew    int64 // When the quota starts anew, as Unix time; 0 without a quota.
	Pending int   // Tasks that have not ended.
	Limit   int   // How many tasks may be unfinished.
}

// jsonBody is JSON in an answer as it is.
type jsonBody []byte

func (jsonBody) shape() reflect.Type { return reflect.TypeFor[gate.Raw]() }

// MarshalJSONTo writes the JSON.
func (b jsonBody) MarshalJSONTo(enc *jsontext.Encoder) error {
	if !jsontext.Value(b).IsValid() {
		return enc.WriteToken(jsontext.String(strings.ToValidUTF8(string(b), "\ufffd")))
	}
	return enc.WriteValue(jsontext.Value(b))
}

// previewPush returns what a push or a batch would come to: who gets it and who not, and why,
// what one device of each kind would get, and how long it takes. It sends nothing, changes
// nothing and uses up nothing. It takes the body of a push or of a batch as it is.
//
// Two previews are made at a time. A newer one of the same caller ends the older one with
// 95014.
func (s *Server) previewPush(ctx context.Context, c *gate.Caller, in *previewRequest) (*preview, error) {
	r := &request{
		command: "push", from: in.From, random: in.Random, aim: &in.aim, accounts: in.Accounts, options: &in.pushOptions, gapped: true,
		content: content{in.Info, in.Body, in.Overrides, apierr.BadOfflinePush},
	}
	if in.Accounts != nil {
		switch {
		case len(in.Accounts) == 0:
			return nil, apierr.BadJSON.Errorf("To_Account is empty")
		case in.Condition != nil || in.Where != nil:
			return nil, apierr.BadJSON.Errorf("To_Account excludes Condition and Where")
		case in.Body != nil:
			return nil, apierr.BadJSON.Errorf("To_Account excludes MsgBody")
		}
		r.command, r.aim, r.gapped = "batch", nil, false
	}
	n, err := s.draft(ctx, c, r)
	if err != nil {
		return nil, err
	}
	return s.preview(ctx, c, n)
}

// maxGroups is how many groups of devices a preview shows.
const maxGroups = 100

// preview returns what a task would come to.
func (s *Server) preview(ctx context.Context, c *gate.Caller, n *task.New) (*preview, error) {
	ctx, done, err := s.previews.begin(ctx, previewer{c.App.ID, c.Name})
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := s.look(ctx, c, n)
	if err != nil && errors.Is(context.Cause(ctx), apierr.PreviewReplaced) {
		err = apierr.PreviewReplaced
	}
	return out, err
}

func (s *Server) look(ctx context.Context, c *gate.Caller, n *task.New) (*preview, error) {
	found, err := s.tasks.Preview(ctx, c.App.ID, &n.Audience)
	if err != nil {
		return nil, err
	}
	p, err := planOf(c, n, found)
	if err != nil {
		return nil, err
	}
	left, err := s.tasks.Quota(ctx, c.App.ID)
	if err != nil {
		return nil, err
	}
	out := &preview{
		PlanID: p.id(), PlanEnds: p.ends.Unix(), Accounts: found.Accounts, Devices: p.devices, NoDevice: found.NoDevice,
		Groups: []previewGroup{}, LeftOut: []leftOut{}, accountErrors: errorList(c, found.Failures),
		Quota: quota{Next: at(left.Next), Left: left.Left, Anew: at(left.Anew), Pending: left.Pending, Limit: left.Limit},
	}
	if n.Nothing != "" {
		out.Nothing, out.Devices = n.Nothing, 0
		return out, nil
	}
	senders := &senders{server: s, app: c.App, open: map[int]channel.Sender{}, failed: map[int]error{}}
	defer senders.close()
	groups := slices.Clone(found.Groups)
	slices.SortStableFunc(groups, func(a, b task.Group) int { return cmp.Compare(b.Devices, a.Devices) })
	for i := range groups {
		switch g := &groups[i]; {
		case len(out.Groups)+len(out.LeftOut) >= maxGroups:
			out.More++
		case g.Choice.Reason != device.Sendable:
			out.LeftOut = append(out.LeftOut, leftOut{string(g.Choice.Reason), meaningOf(g.Choice.Reason).Sentence, g.Language, g.Platform, g.Devices, g.Sample})
		default:
			shown := previewGroup{g.Choice.Provider, g.Choice.Certificate, g.Choice.Kind, g.Language, g.Platform, g.Devices, g.Sample, nil, ""}
			shown.Payload, shown.Problem = s.payload(ctx, c, n, g, senders)
			out.Groups = append(out.Groups, shown)
		}
	}
	schedule(c, n, groups, left, senders, out)
	return out, ctxCause(ctx)
}

func ctxCause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// meaningOf returns the meaning of the outcome that devices get that are left out.
func meaningOf(r device.Reason) report.Meaning {
	return report.Meanings[outcomeOf(r)]
}

// sendable returns how many devices a task would be sent to.
func sendable(found *task.Preview) (devices uint64) {
	for i := range found.Groups {
		if found.Groups[i].Choice.Reason == device.Sendable {
			devices += found.Groups[i].Devices
		}
	}
	return devices
}

// What stands in a preview for what only a task has, of the same length.
var (
	previewReport  = strings.Repeat("0", 40)
	previewReplace = strings.Repeat("0", 24)
)

const previewSend = "00000000-0000-0000-0000-000000000000"

// payload returns what one device of a group would get, from the code that sends, or why
// it cannot be made.
func (s *Server) payload(ctx context.Context, c *gate.Caller, n *task.New, g *task.Group, open *senders) (*payload, string) {
	sender, err := open.of(g.Choice.Certificate)
	if err != nil {
		return nil, err.Error()
	}
	d, err := s.devices.Device(ctx, c.App.ID, g.Sample)
	if err != nil {
		return nil, "" // it is gone by now
	}
	token := d.Token(&g.Choice)
	if token == nil {
		return nil, ""
	}
	target := channel.Target{
		Kind: token.Kind, Address: token.Address, Language: d.Language, ReportID: previewReport, SendID: previewSend,
		Badge: device.BadgeAfter(d.Badge, &n.Message, g.Choice.Provider),
	}
	job := &channel.Job{Message: &n.Message, Replace: previewReplace, Expires: c.Now.Add(n.Life)}
	p, err := sender.Payload(job, &target)
	if err != nil {
		return nil, err.Error()
	}
	return &payload{Body: p.Body, Bytes: p.Bytes, Limit: p.Limit, Cuts: p.Cuts, Headers: p.Header}, ""
}

// schedule says when a task would begin and end, if nothing else is sent.
func schedule(c *gate.Caller, n *task.New, groups []task.Group, left task.Quota, open *senders, out *preview) {
	devices := map[int]uint64{} // by certificate
	for i := range groups {
		if g := &groups[i]; g.Choice.Reason == device.Sendable {
			devices[g.Choice.Certificate] += g.Devices
		}
	}
	if len(devices) == 0 {
		return
	}
	first := c.Now
	if n.Gapped && left.Next.After(first) {
		first = left.Next
	}
	var longest time.Duration
	known := true
	for certificate, n := range devices {
		if _, err := open.of(certificate); err != nil {
			known = false
			continue
		}
		limits := open.limits(certificate)
		if limits.Rate <= 0 {
			known = false
			continue
		}
		longest = max(longest, takes(n, float64(limits.Rate), limits.Ramp))
		out.Pace += limits.Rate
	}
	for _, pace := range []int{c.App.Settings.Push.Pace, c.App.Settings.Push.TaskPace} {
		if pace > 0 {
			if out.Pace == 0 || pace < out.Pace {
				out.Pace = pace
			}
			longest, known = max(longest, takes(out.Devices, float64(pace), 0)), true
		}
	}
	out.First = first.Unix()
	if known {
		out.Last = first.Add(longest).Unix()
	}
}

// takes returns how long n messages take at a rate that is reached in a ramp.
func takes(n uint64, rate float64, ramp time.Duration) time.Duration {
	seconds := ramp.Seconds()
	inRamp := rate * seconds / 2
	if float64(n) <= inRamp {
		return time.Duration(math.Sqrt(2*float64(n)*seconds/rate) * float64(time.Second))
	}
	return time.Duration((seconds + (float64(n)-inRamp)/rate) * float64(time.Second))
}
