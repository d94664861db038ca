package dispatch

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A judge decides what becomes of units (spec/channels.md, 2.1 and 2.4).
type judge struct {
	now     time.Time
	ends    time.Time // of the message
	limits  channel.Limits
	refused bool // a message that was refused for the credentials was so with all others
}

// verdict returns what becomes of a unit that was tried before, and now had a result.
func (j *judge) verdict(tries int, r *channel.Result) task.Verdict {
	v := task.Verdict{Status: r.Status, Code: r.Code, Words: r.Words, Took: r.Took}
	switch r.Outcome {
	case channel.Accepted:
		v.Outcome = report.Accepted
	case channel.Gone:
		v.Outcome = report.Gone
	case channel.Rejected:
		v.Outcome = report.Rejected
	case channel.Unauthorized:
		if j.refused {
			// Nothing was wrong with the message: it waits until the lane is mended, or its life
			// ends.
			v.Again, v.Unsent = j.now, true
			return v
		}
		j.retry(&v, tries, r)
	case channel.Throttled, channel.Retry:
		j.retry(&v, tries, r)
	default:
		// Once more where that is harmless. What was tried before, for whatever reason, may
		// have been tried for this one.
		v.Outcome = report.Unknown
		if r.Replaces && tries == 0 {
			if j.retry(&v, tries, r); v.Outcome == report.Expired {
				v.Outcome = report.Unknown
			}
		}
	}
	return v
}

// retry has a unit tried again, unless the life of its message ends before.
func (j *judge) retry(v *task.Verdict, tries int, r *channel.Result) {
	wait := r.After
	if wait <= 0 {
		wait = j.limits.MinRetry + jitter(tries, cmp.Or(j.limits.MaxRetry, maxWait))
	}
	wait = min(max(wait, j.limits.MinRetry), maxAfter)
	v.Outcome, v.Again = 0, j.now.Add(wait)
	if !v.Again.Before(j.ends) {
		v.Outcome, v.Again = report.Expired, time.Time{}
	}
}

// maxAfter bounds how long a provider can put off one message.
const maxAfter = 24 * time.Hour

// sentence returns what a provider said, in one line.
func sentence(r *channel.Result) string {
	var parts []string
	if r.Status != 0 {
		parts = append(parts, fmt.Sprint(r.Status))
	}
	for _, s := range []string{r.Code, r.Words} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return r.Outcome.String()
	}
	return strings.Join(parts, " ")
}
