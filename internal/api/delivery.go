package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/dispatch"
	"tidings/internal/gate"
	"tidings/internal/report"
	"tidings/internal/task"
)

type explainDeliveryRequest struct {
	TaskID  string `json:"TaskId" need:"yes"`                   // The task.
	Account string `json:"To_Account" need:"yes" account:"yes"` // The account: a UserID, or the RegistrationID of one device.
}

type explainDeliveryResponse struct {
	Sentence string        // What became of the push for this account, in one sentence.
	Advice   string        `json:",omitempty"` // What to do about it.
	Matched  bool          // Whether the account was in the audience, itself or through its user.
	State    string        // The state of the task.
	Devices  []deviceTrace // The devices of the account, and what became of the push at each.
}

// deviceTrace is what became of a push at one device.
type deviceTrace struct {
	RegistrationID string            // The device.
	Deleted        bool              `json:",omitzero"`  // Whether it was deleted since, so that nothing else is known of it.
	Platform       string            `json:",omitempty"` // Its platform, as it was when the push was sent.
	Model          string            `json:",omitempty"` // Its model.
	AppVersion     string            `json:",omitempty"` // The version of the app on it.
	Language       string            `json:",omitempty"` // Its language.
	Token          string            `json:",omitempty"` // The last characters of the token that it was reached by.
	Provider       channel.Provider  `json:",omitempty"` // The provider that it was reached through.
	Certificate    int               `json:",omitzero"`  // The id of the certificate.
	Kind           channel.TokenKind `json:",omitempty"` // The kind of the token.
	Outcome        string            `json:",omitempty"` // What became of it, in the word of list_tasks. It is absent while the device waits.
	Tries          int               // How often it was tried.
	Status         int               `json:",omitzero"`  // The HTTP status that the provider answered with.
	Code           string            `json:",omitempty"` // The provider's own word for it.
	Words          string            `json:",omitempty"` // What the provider said.
	At             int64             // When it was sent last, as Unix time; 0 if it was not.
	Took           int64             // How many milliseconds the provider took to answer.
	Next           int64             // When it is tried again, as Unix time; 0 if it is not.
	Arrived        int64             // When the device reported that it arrived; 0 if it has not.
	Clicked        int64             // When the device reported a click; 0 if it has not.
	Steps          []traceStep       // The steps up to the last that is known: matched, device, token, certificate, permission, sent, arrived, clicked.
	Advice         string            `json:",omitempty"` // What to do about it.
}

// traceStep is one step on the way to a device.
type traceStep struct {
	Step  string // Its name.
	State string // yes, no, waiting, or unknown if nobody can say.
	Text  string // What is known of it.
}

// explainDelivery says why an account got a push or did not: one sentence, what to do about
// it, and for each of its devices the way from the audience to the click, as things were when
// the push was sent, with the provider's own words.
func (s *Server) explainDelivery(ctx context.Context, c *gate.Caller, in *explainDeliveryRequest) (out explainDeliveryResponse, err error) {
	e, err := s.tasks.Explain(ctx, c.App.ID, in.TaskID, in.Account)
	if err != nil {
		return out, taskError(in.TaskID, err)
	}
	if !e.Exists && !e.Chosen {
		return out, apierr.UnknownAccount.Errorf("account %s does not exist, and was not in the audience of the task", gate.Quote(in.Account))
	}
	for i := range e.Devices {
		settle(e.Task, &e.Devices[i])
	}
	status := s.status(e.Task)
	out.Matched, out.State, out.Devices = e.Chosen, infoOf(e.Task, &status).State, make([]deviceTrace, len(e.Devices))
	for i := range e.Devices {
		out.Devices[i] = traceOf(e, &e.Devices[i], &status)
	}
	out.Sentence, out.Advice = verdictOf(in.Account, e, &status)
	return out, nil
}

// settle gives a device that was in no page when its task ended the outcome that it has then.
func settle(t *task.Task, d *task.Trace) {
	if d.Sent && !d.Waiting || !t.State.Ended() || t.State == task.Done && d.Outcome == 0 {
		return
	}
	d.Sent, d.Waiting = true, false
	switch {
	case d.Outcome != 0:
	case d.Choice.Reason != device.Sendable:
		d.Outcome = outcomeOf(d.Choice.Reason)
	case t.State == task.Expired:
		d.Outcome = report.Expired
	default:
		d.Outcome = report.Stopped
	}
}

// outcomeOf returns the outcome of a device that cannot be sent to.
func outcomeOf(r device.Reason) report.Outcome {
	for o, m := range report.Meanings {
		if m.Word == string(r) {
			return report.Outcome(o)
		}
	}
	return report.NoToken
}

func traceOf(e *task.Explanation, t *task.Trace, status *dispatch.TaskStatus) deviceTrace {
	d := deviceTrace{
		RegistrationID: t.Device.ID, Deleted: t.Deleted, Platform: t.Device.Platform, Model: t.Device.Model, AppVersion: t.Device.AppVersion,
		Language: t.Device.Language, Provider: t.Choice.Provider, Certificate: t.Choice.Certificate, Kind: t.Choice.Kind,
		Tries: t.Tries, Status: t.Status, Code: t.Code, Words: t.Words, At: at(t.At), Took: t.Took.Milliseconds(), Next: at(t.Next),
		Arrived: at(t.Arrived), Clicked: at(t.Clicked), Steps: stepsOf(e, t, status),
	}
	if t.Sent && !t.Waiting {
		d.Outcome = t.Outcome.String()
	}
	if i := tokenOf(t); i >= 0 {
		d.Token = t.Device.Tokens[i].Address.Last6()
	}
	if e.Chosen {
		_, d.Advice = wordsFor(e, t, status)
	}
	return d
}

// tokenOf returns the place of the token that a device is reached by; -1 if there is none.
func tokenOf(t *task.Trace) int {
	return slices.IndexFunc(t.Device.Tokens, func(token device.Token) bool {
		return t.Choice.Certificate != 0 && token.Certificate == t.Choice.Certificate && token.Kind == t.Choice.Kind
	})
}

// stepsOf returns the steps on the way to a device, up to the first that was not made.
func stepsOf(e *task.Explanation, t *task.Trace, status *dispatch.TaskStatus) (steps []traceStep) {
	add := func(step, state, format string, args ...any) {
		steps = append(steps, traceStep{step, state, fmt.Sprintf(format, args...)})
	}
	if !e.Chosen {
		add("matched", "no", "the account was not in the audience")
		return steps
	}
	add("matched", "yes", "the account was in the audience")
	if t.Deleted {
		add("device", "unknown", "the device was deleted since")
		return append(steps, sentStep(e, t, status))
	}
	if t.Sent && !t.Waiting && t.Outcome == report.NoDevice {
		add("device", "no", "the account had no device")
		return steps
	}
	add("device", "yes", "%s, last active %s", describe(&t.Device), clock(t.Device.LastActive))
	reason := t.Choice.Reason
	if reason == device.Sendable && t.Sent && !t.Waiting {
		reason = reasonOf(t.Outcome)
	}
	switch reason {
	case device.NoToken:
		add("token", "no", "the device has no token that a push like this can use")
		return steps
	case device.NoCertificate:
		add("token", "yes", "the device has a token")
		add("certificate", "no", "the app has no certificate for it")
		return steps
	}
	if i := tokenOf(t); i >= 0 {
		add("token", "yes", "%s token %s, registered %s", t.Choice.Kind, t.Device.Tokens[i].Address.Last6(), clock(t.Device.Tokens[i].Registered))
	} else if t.Choice.Certificate != 0 {
		add("token", "yes", "a token of kind %s", t.Choice.Kind)
	}
	if t.Choice.Certificate != 0 {
		add("certificate", "yes", "certificate %d of %s", t.Choice.Certificate, t.Choice.Provider)
	}
	switch {
	case reason == device.PermissionOff:
		add("permission", "no", "the person does not permit notifications")
		return steps
	case t.Device.Permission == device.Allowed:
		add("permission", "yes", "the person permits notifications")
	default:
		add("permission", "unknown", "the device has not said whether notifications are permitted")
	}
	steps = append(steps, sentStep(e, t, status))
	if !t.Sent || t.Waiting || t.Outcome != report.Accepted && t.Outcome != report.Unknown && t.Arrived.IsZero() && t.Clicked.IsZero() {
		return steps
	}
	switch {
	case !t.Arrived.IsZero():
		add("arrived", "yes", "the device reported it at %s", clock(t.Arrived))
	case !t.Clicked.IsZero():
		add("arrived", "yes", "the device reported the click alone")
	default:
		add("arrived", "unknown", "the device has not reported that it arrived")
	}
	if t.Clicked.IsZero() {
		add("clicked", "unknown", "the device has not reported a click")
	} else {
		add("clicked", "yes", "the device reported it at %s", clock(t.Clicked))
	}
	return steps
}

// sentStep says what became of the sending.
func sentStep(e *task.Explanation, t *task.Trace, status *dispatch.TaskStatus) traceStep {
	text, _ := wordsFor(e, t, status)
	if t.Sent && !t.Waiting && t.Outcome == report.Accepted && !(t.Arrived.IsZero() && t.Clicked.IsZero()) {
		text = fmt.Sprintf("%s took it at %s", providerOf(t), clock(t.At)) // the steps after this one say the rest
	}
	state := "waiting"
	if !t.Waiting && (t.Sent || e.Task.State.Ended()) {
		state = "no"
		switch t.Outcome {
		case report.Accepted:
			state = "yes"
		case report.Unknown:
			state = "unknown"
		}
	}
	return traceStep{"sent", state, text}
}

// reasonOf returns why a device could not be sent to, if its outcome says so.
func reasonOf(o report.Outcome) device.Reason {
	switch o {
	case report.NoCertificate:
		return device.NoCertificate
	case report.NoToken:
		return device.NoToken
	case report.PermissionOff:
		return device.PermissionOff
	}
	return device.Sendable
}

// describe returns a device in a few words.
func describe(d *device.Device) string {
	text := cmp.Or(d.Model, d.Platform, "a device")
	if d.AppVersion != "" {
		text += ", app " + d.AppVersion
	}
	return text
}

// clock returns a moment as sentences have it.
func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
