package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/userfile"
)

// importBatch is how many users are changed under the lock of their app at a
// time, somewhat more than one request of the API may change.
const importBatch = 250

// maxStale is how often a chunk is imported anew because the attributes of the
// app have changed.
const maxStale = 3

// Apply applies the lines of a chunk in their order, or, in a dry run, answers what that
// would come to. It returns when all that could be applied is durable.
//
// Lines name attributes, and are mapped to the slots that the app has when they
// are applied. If its attributes change meanwhile, the store applies no more, and
// the chunk is applied again from its beginning: a line that is in already
// changes nothing then.
func Apply(ctx context.Context, apps *app.Registry, users audience.Store, chunk Chunk, dryRun bool, lines io.Reader) (*Result, error) {
	text, err := io.ReadAll(io.LimitReader(lines, MaxChunkBytes+1))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte("\n")); len(text) > MaxChunkBytes || n > MaxChunkLines {
		return nil, &app.Error{Msg: fmt.Sprintf("a chunk has %d bytes and %d lines, it may have %d and %d", len(text), n, MaxChunkBytes, MaxChunkLines)}
	}
	im := &importer{replace: chunk.Replace, dryRun: dryRun, lines: bytes.Split(text, []byte("\n"))}
	im.outcomes = make([]audience.Outcome, len(im.lines))
	if chunk.Begins {
		im.takeHeader()
	}
	for stale := 0; ; stale++ {
		if err := im.adopt(ctx, apps, chunk.App); err != nil {
			return nil, err
		}
		err := im.run(ctx, users)
		if err == nil {
			return im.result(), nil
		}
		if !errors.Is(err, audience.ErrStale) || stale == maxStale {
			return nil, err
		}
	}
}

// result counts what became of the lines.
func (im *importer) result() *Result {
	r := &Result{Failures: im.failures}
	for _, o := range im.outcomes {
		switch o {
		case audience.Created:
			r.Created++
		case audience.Changed:
			r.Changed++
		case audience.Unchanged:
			r.Unchanged++
		}
	}
	r.Users = r.Created + r.Changed + r.Unchanged
	return r
}

// adopt has the importer begin, with an app as it is after the header.
func (im *importer) adopt(ctx context.Context, apps *app.Registry, id uint32) (err error) {
	im.failures = nil
	if im.app, err = apps.Settled(ctx, id); err != nil {
		return err
	}
	im.attrs = im.app.Attributes
	var refused *apierr.Error
	switch {
	case im.badHeader != "":
		im.fail(im.headerLine, "", im.badHeader)
	case im.header == nil:
	case im.dryRun:
		var merged audience.Attributes
		if merged, refused = im.attrs.Merged(im.header); refused == nil {
			im.attrs = merged
		}
	default:
		a, err := apps.AddAttributes(ctx, id, im.header)
		if err == nil {
			im.app, im.attrs = a, a.Attributes
		} else if refused = apierr.From(err); refused.Kind != apierr.InvalidAttribute {
			return err
		}
	}
	if refused != nil {
		im.fail(im.headerLine, "", refused.Info())
	}
	return nil
}

// importer works on one chunk.
type importer struct {
	replace    bool
	dryRun     bool
	lines      [][]byte
	headerLine int                  // which line is the header
	header     *audience.Attributes // nil: there is none, or a bad one
	badHeader  string               // what is wrong with the header
	outcomes   []audience.Outcome   // of each line, the greatest of all attempts; 0: it is not in

	// Of one attempt.
	app      *app.App
	attrs    audience.Attributes // those of app; in a dry run also those that the header would name
	failures []Failure
}

// takeHeader takes away the header that the first line may be.
func (im *importer) takeHeader() {
	first := slices.IndexFunc(im.lines, func(l []byte) bool { return len(bytes.TrimSpace(l)) > 0 })
	if first < 0 || !userfile.IsHeader(im.lines[first]) {
		return
	}
	attrs, err := userfile.ParseHeader(im.lines[first])
	im.lines[first] = nil
	im.headerLine, im.header = first, attrs
	if err != nil {
		im.header, im.badHeader = nil, err.Error()
	}
}

func (im *importer) fail(line int, account, reason string) {
	im.failures = append(im.failures, Failure{line, account, reason})
}

// A piece is some lines of a chunk, parsed.
type piece struct {
	changes  []audience.Change
	lines    []int  // of the changes, in the chunk
	more     []bool // of the changes: it also sets what the store does not know yet
	failures []Failure
	ready    chan struct{}
}

// run parses pieces while those before are applied, which takes longer and one
// processor.
func (im *importer) run(ctx context.Context, users audience.Store) error {
	pieces := make([]piece, (len(im.lines)+importBatch-1)/importBatch)
	for i := range pieces {
		pieces[i].ready = make(chan struct{})
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(1, runtime.GOMAXPROCS(0)-1), len(pieces)) {
		wg.Go(func() {
			var parser userfile.Parser
			var line userfile.Line
			for i := int(next.Add(1)) - 1; i < len(pieces); i = int(next.Add(1)) - 1 {
				im.parse(&pieces[i], i*importBatch, &parser, &line)
				close(pieces[i].ready)
			}
		})
	}
	defer wg.Wait()
	var numbers []int // of all changes applied so far
	var more []bool
	batches := iter.Seq[[]audience.Change](func(yield func([]audience.Change) bool) {
		for i := range pieces {
			p := &pieces[i]
			<-p.ready
			im.failures = append(im.failures, p.failures...)
			for _, f := range p.failures {
				im.outcomes[f.Line] = 0
			}
			more = append(more, p.more...)
			numbers = append(numbers, p.lines...)
			if len(p.changes) > 0 && !yield(p.changes) {
				return
			}
			*p = piece{} // its memory is needed no more
		}
	})
	err := users.Import(ctx, im.app.ID, batches, im.dryRun, func(i int, o audience.Outcome, err *apierr.Error) {
		n := numbers[i]
		if err != nil {
			im.outcomes[n] = 0
			im.fail(n, "", err.Info())
			return
		}
		if more[i] {
			o = max(o, audience.Changed)
		}
		im.outcomes[n] = max(im.outcomes[n], o)
	})
	for i, f := range im.failures {
		if f.Account == "" {
			im.failures[i].Account = im.account(f.Line)
		}
	}
	slices.SortFunc(im.failures, func(a, b Failure) int { return a.Line - b.Line })
	return err
}

// account returns whom a line is about, as far as that can be told.
func (im *importer) account(n int) string {
	var p userfile.Parser
	var l userfile.Line
	if len(im.lines[n]) == 0 || p.Line(im.lines[n], &l) != nil {
		return ""
	}
	return l.Account
}

func (im *importer) parse(p *piece, first int, parser *userfile.Parser, line *userfile.Line) {
	lines := im.lines[first:min(first+importBatch, len(im.lines))]
	p.changes = make([]audience.Change, 0, len(lines))
	p.lines = make([]int, 0, len(lines))
	p.more = make([]bool, 0, len(lines))
	for i, text := range lines {
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		c, more, err := im.read(text, parser, line)
		if err == nil {
			p.changes, p.lines, p.more = append(p.changes, c), append(p.lines, first+i), append(p.more, more)
			continue
		}
		p.failures = append(p.failures, Failure{Line: first + i, Reason: err.Error()})
	}
}

// read returns what a line asks for.
func (im *importer) read(text []byte, parser *userfile.Parser, line *userfile.Line) (c audience.Change, more bool, err error) {
	if len(text) > userfile.MaxLineBytes {
		return c, false, fmt.Errorf("it has %d bytes, a line may have %d", len(text), userfile.MaxLineBytes)
	}
	if err := parser.Line(text, line); err != nil {
		return c, false, err
	}
	return im.change(line)
}

// change returns what a line does to its account, if the app allows it. What depends
// on the account the store checks. More reports that the line also sets attributes which
// only a dry run knows, from the header.
func (im *importer) change(l *userfile.Line) (c audience.Change, more bool, err error) {
	c = audience.Change{Account: l.Account, Create: true, Kind: l.Kind, OfKind: true, Created: l.Created}
	if err := checkAccount(im.app, l); err != nil {
		return c, false, fmt.Errorf("To_Account: %w", err)
	}
	for _, v := range l.Attrs {
		slot := im.attrs.Index(v.Name)
		if slot < 0 {
			return c, false, fmt.Errorf("the app has no attribute %.60q", v.Name)
		}
		if err := audience.CheckValue(v.Value); err != nil {
			return c, false, fmt.Errorf("%s: %s", "Attrs."+v.Name, err.Info())
		}
		if im.attrs[slot] != im.app.Attributes[slot] {
			// A dry run of a header: the store knows no such slot, so that its
			// check is made here. The line says of what type its account is.
			if im.attrs[slot].Kind != l.Kind {
				return c, false, fmt.Errorf("attribute %s is not for this account type", v.Name)
			}
			more = true
			continue
		}
		c.Set[slot], c.Attributes = v.Value, &im.attrs
	}
	for i, tag := range l.Tags {
		if err := audience.CheckTag(tag); err != nil {
			return c, false, fmt.Errorf("%s[%d]: %s", "Tags", i, err.Info())
		}
	}
	if len(l.Tags) > 0 {
		c.Tags = audience.TagEdit{Op: audience.AddTags, Tags: slices.Clone(l.Tags), AppMax: im.app.Settings.AppTags()}
	}
	c.Profile.Nick, c.Profile.FaceURL = l.Nick, l.FaceURL
	for _, p := range []struct {
		name string
		text *string
	}{{"Nick", l.Nick}, {"FaceUrl", l.FaceURL}} {
		if p.text != nil && len(*p.text) > audience.MaxProfileBytes {
			return c, false, fmt.Errorf("%s has %d bytes, it may have %d", p.name, len(*p.text), audience.MaxProfileBytes)
		}
	}
	if im.replace {
		c.Profile.Clear = true
		c.Tags.Op = audience.ReplaceTags
		for i, v := range c.Set {
			if v == "" {
				c.Remove.Add(i)
			}
		}
	}
	return c, more, nil
}

// checkAccount returns why a line's account may not be one of the app.
func checkAccount(a *app.App, l *userfile.Line) error {
	if l.Kind == audience.UserID {
		return a.Settings.UserIDs.Check(l.Account)
	}
	return app.CheckRegistrationID(l.Account)
}
