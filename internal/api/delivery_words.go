package api

import (
	"fmt"
	"slices"
	"strings"

	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/dispatch"
	"tidings/internal/gate"
	"tidings/internal/report"
	"tidings/internal/task"
)

const noDeviceAdvice = "Have the app register its device, and bind it to the user when the user logs in."

// verdictOf returns what became of a push for an account, in one sentence, and what to do
// about it.
func verdictOf(account string, e *task.Explanation, status *dispatch.TaskStatus) (sentence, advice string) {
	who := gate.Quote(account)
	t := e.Task
	counts := t.Progress.Counts()
	switch {
	case t.State == task.Done && t.Reason != "" && counts.Sum() == 0: // it was made with the reason why nothing is sent
		return fmt.Sprintf("The push went to nobody: %s.", t.Reason), ""
	case e.Dropped:
		return fmt.Sprintf("The push ended at %s, and what became of each device is kept no more.", clock(t.Ended)), ""
	case e.Chosen && slices.ContainsFunc(e.Devices, func(d task.Trace) bool { return d.Outcome != report.NoDevice }):
	case e.Chosen:
		return who + " was in the audience and has no device, so there was nothing to send to.",
			noDeviceAdvice
	case !e.Fixed && t.State == task.Done:
		return "The push went to nobody: its audience was empty when it was fixed.", ""
	case !e.Fixed && t.State == task.Failed:
		return fmt.Sprintf("The push could not begin, so %s did not get it: %s.", who, t.Reason), "Mend what the reason names and push again."
	case !e.Fixed && t.State.Ended():
		return fmt.Sprintf("The push was %s before its audience was fixed, so %s did not get it.", t.State, who), ""
	case !e.Fixed:
		return fmt.Sprintf("The audience of the push is not fixed yet, so nobody can say whether %s is in it.", who), "Ask again in a moment."
	case t.Audience.Named > 0:
		return who + " was not among the accounts that the batch named.", ""
	default:
		return who + " was not in the audience when it was fixed.", "Ask explain_audience with the expression of the push: it says which part of it does not select the account now."
	}
	best := &e.Devices[0]
	for i := range e.Devices {
		if d := &e.Devices[i]; rank(d) > rank(best) {
			best = d
		}
	}
	text, advice := wordsFor(e, best, status)
	device := describe(&best.Device)
	if best.Deleted {
		device = "a device that was deleted since"
	}
	sentence = fmt.Sprintf("%s, %s: %s.", who, device, text)
	if n := len(e.Devices); n > 1 {
		sentence = fmt.Sprintf("%s, on the device of %d that it came nearest to (%s): %s.", who, n, device, text)
	}
	return sentence, advice
}

// rank orders devices by how far a push came at them.
func rank(t *task.Trace) int {
	switch {
	case !t.Clicked.IsZero():
		return 100
	case !t.Arrived.IsZero():
		return 99
	case !t.Sent || t.Waiting:
		return 50
	}
	ranks := [report.Outcomes]int{
		report.Accepted: 98, report.Unknown: 97, report.Rejected: 40, report.Gone: 39, report.Expired: 30, report.Stopped: 20,
		report.PermissionOff: 10, report.NoToken: 9, report.NoCertificate: 8, report.NoDevice: 7,
	}
	return ranks[t.Outcome]
}

// wordsFor returns what became of a push at a device, and what to do about it.
func wordsFor(e *task.Explanation, t *task.Trace, status *dispatch.TaskStatus) (text, advice string) {
	provider := providerOf(t)
	switch {
	case t.Outcome == 0 && e.Task.State == task.Done:
		return "the device came to the account, or could be reached, when its turn was over", "Push again to reach it."
	case !t.Sent || t.Waiting:
		return waiting(e, t, status)
	}
	switch t.Outcome {
	case report.Accepted:
		switch {
		case !t.Clicked.IsZero():
			return "it arrived and was clicked at " + clock(t.Clicked), ""
		case !t.Arrived.IsZero():
			return "it arrived at " + clock(t.Arrived) + " and was not clicked", ""
		case t.Choice.Kind == channel.LiveActivity || t.Choice.Kind == channel.LiveActivityStart:
			return fmt.Sprintf("%s took it at %s, which it does for dead Live Activities too", provider, clock(t.At)),
				"Look whether the activity still runs on the device: the provider does not say."
		}
		return fmt.Sprintf("%s took it at %s, and the device has not reported that it arrived", provider, clock(t.At)),
			"Devices report what arrives only if the app does so. If others report and this one does not, it is off, offline, or its system holds notifications back."
	case report.Gone:
		return fmt.Sprintf("%s says that its token is dead%s", provider, said(t)),
			"The app was removed or its token renewed. When it is opened again, it registers anew; restore_tokens gives tokens back that were taken by mistake."
	case report.Rejected:
		return fmt.Sprintf("%s will never take this message%s", provider, said(t)), "Change what the provider names and push again; preview_push shows what it gets."
	case report.Unknown:
		if !t.Arrived.IsZero() || !t.Clicked.IsZero() {
			return fmt.Sprintf("the connection to %s broke after it was written, and it arrived", provider), ""
		}
		return fmt.Sprintf("the connection to %s broke at %s after it was written, so it may have arrived%s", provider, clock(t.At), said(t)),
			"It is not sent again, since that could ring twice. Push again if that does no harm."
	case report.Expired:
		return fmt.Sprintf("no provider took it before it expired at %s%s", clock(e.Task.Ends), said(t)), "Give the push a longer LifeTime, or look why its certificate was slow or blocked: get_task."
	case report.Stopped:
		return "the task was stopped before it was its turn", ""
	case report.NoDevice:
		return "there is no device", noDeviceAdvice
	}
	return left(reasonOf(t.Outcome))
}

// waiting says what a device waits for.
func waiting(e *task.Explanation, t *task.Trace, status *dispatch.TaskStatus) (text, advice string) {
	if t.Choice.Reason != device.Sendable {
		return left(t.Choice.Reason)
	}
	for _, l := range status.Lanes {
		if l.Certificate == t.Choice.Certificate && l.State == dispatch.LaneBlocked {
			return fmt.Sprintf("it waits, since certificate %d of %s is blocked: %s", l.Certificate, providerOf(t), strings.TrimSuffix(l.Reason, ".")), "Mend the certificate with tidings channel replace; what waits is sent then."
		}
	}
	switch {
	case e.Task.Paused:
		return "it waits, since the task is paused", "resume_task lets it go on."
	case !t.Next.IsZero():
		return fmt.Sprintf("it is tried again at %s, for the %s time%s", clock(t.Next), ordinal(t.Tries+1), said(t)), ""
	}
	return "it waits for its turn", "get_task says how fast the task goes and how long it takes yet."
}

// left says why a device is not sent to.
func left(r device.Reason) (text, advice string) {
	text = meaningOf(r).Sentence
	switch r {
	case device.NoCertificate:
		return text, "Add a certificate for the platform of the device with tidings channel add, or have the app name one that exists."
	case device.NoToken:
		return text, "The app has registered the device without a token, or its token was taken as dead: have it register again with the token of its provider."
	case device.PermissionOff:
		return text, "Only the person can change that, in the settings of the device."
	}
	return text, ""
}

// said returns the provider's own words.
func said(t *task.Trace) string {
	text := t.Code
	if t.Status != 0 {
		text = fmt.Sprint(t.Status)
		if t.Code != "" {
			text += " " + t.Code
		}
	}
	if t.Words != "" {
		if text != "" {
			text += ": "
		}
		text += t.Words
	}
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func providerOf(t *task.Trace) string {
	if t.Choice.Provider == "" {
		return "the provider"
	}
	return string(t.Choice.Provider)
}

func ordinal(n int) string {
	switch {
	case n%100/10 == 1:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}
