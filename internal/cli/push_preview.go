package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"tidings/client"
)

// previewPush says what a push would come to.
func (e *env) previewPush(ctx context.Context, t *target, p client.Push, accounts []string, asJSON bool) error {
	var preview *client.Preview
	err := t.use(ctx, func(ctx context.Context, c *client.Client) (err error) {
		preview, err = c.Preview(ctx, p, accounts...)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		return e.printJSON(preview)
	}
	return e.printPreview(preview)
}

func (e *env) printPreview(p *client.Preview) error {
	e.printFailures(p.Failures)
	if _, err := fmt.Fprintf(e.stdout, "%s, %s\n", counted(int(p.Accounts), "account", "accounts"), counted(int(p.Devices), "device", "devices")); err != nil {
		return err
	}
	if p.Nothing != "" {
		_, err := fmt.Fprintf(e.stdout, "Nothing would be sent: %s.\n", plain(p.Nothing))
		return err
	}
	if len(p.Groups) > 0 {
		fmt.Fprintln(e.stdout)
	}
	err := table(e.stdout, func(row func(...any)) {
		for i, g := range p.Groups {
			if i == 0 {
				row("DEVICES", "PROVIDER", "CERTIFICATE", "KIND", "LANGUAGE", "PLATFORM", "BYTES", "CUT")
			}
			bytes, cuts := "-", "-"
			if g.Payload != nil {
				bytes = fmt.Sprintf("%s of %s", number(g.Payload.Bytes), number(g.Payload.Limit))
				cuts = cmp.Or(strings.Join(g.Payload.Cuts, ", "), "-")
			}
			row(number(g.Devices), plain(g.Provider), g.Certificate, plain(g.Kind), orDash(g.Language), orDash(g.Platform), bytes, plain(cuts))
		}
	})
	if err != nil {
		return err
	}
	for _, g := range p.Groups {
		if g.Problem != "" {
			fmt.Fprintf(e.stdout, "certificate %d, %s: %s\n", g.Certificate, orDash(g.Language), plain(g.Problem))
		}
	}
	if len(p.LeftOut) > 0 || p.NoDevice > 0 {
		fmt.Fprintln(e.stdout)
	}
	err = table(e.stdout, func(row func(...any)) {
		if len(p.LeftOut) > 0 || p.NoDevice > 0 {
			row("LEFT OUT", "WHY", "LANGUAGE", "PLATFORM")
		}
		for _, l := range p.LeftOut {
			row(number(l.Devices), plain(l.Why), orDash(l.Language), orDash(l.Platform))
		}
		if p.NoDevice > 0 {
			row(number(p.NoDevice), "accounts without a device", "-", "-")
		}
	})
	if err != nil {
		return err
	}
	if p.More > 0 {
		fmt.Fprintf(e.stdout, "and %s\n", counted(p.More, "more group", "more groups"))
	}
	fmt.Fprintln(e.stdout)
	if p.Devices > 0 {
		fmt.Fprintf(e.stdout, "first message %s, last %s%s\n", moment(p.First.Time), moment(p.Last.Time), atMost(p.Pace))
	}
	if p.Quota.Left >= 0 {
		fmt.Fprintf(e.stdout, "%s left today, anew %s\n", counted(p.Quota.Left, "push", "pushes"), moment(p.Quota.Anew.Time))
	}
	_, err = fmt.Fprintf(e.stdout, "plan %s, until %s\n", p.PlanID, moment(p.PlanEnds.Time))
	return err
}

func atMost(pace int) string {
	if pace == 0 {
		return ""
	}
	return fmt.Sprintf(", at most %s a second", number(pace))
}

// orDash returns a text for a table; - for an empty one.
func orDash(s string) string { return cmp.Or(plain(s), "-") }
