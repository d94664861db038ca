package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Progress is how far an import got: all lines before the position are done.
type Progress struct {
	Position
	Counts
	Bad int `json:"bad"` // lines
}

// ErrTooManyBad says that an import was ended because so many lines are bad.
var ErrTooManyBad = errors.New("too many lines are bad")

// An Import is one run of the import of a file.
type Import struct {
	File    *File
	App     uint32
	Devices bool // lines are about devices, and none is a header
	Replace bool
	DryRun  bool  // nothing is changed
	MaxBad  int   // more bad lines than this in this run end it; 0: any number is fine
	Note    *Note // nil: it cannot be resumed

	// Send carries a chunk and its lines to where the users are.
	Send func(ctx context.Context, chunk Chunk, lines []byte) (*Result, error)
	// Failed takes the bad lines of a chunk, in order, before they count as done.
	Failed func([]Failure) error
	// Watch is told after each chunk how far the import got, and how many bytes of the
	// file were read by then; may be nil.
	Watch func(read int64, p Progress)

	Begin Progress // where this run began
	Done  Progress // where it got
	Sent  bool     // a chunk was sent, done or not

	header []byte // of NDJSON, for the chunks of a dry run
}

// Counts returns what came in with this run.
func (im *Import) Counts() Counts { return im.Done.minus(im.Begin.Counts) }

// Resume has the import go on where it was interrupted before.
func (im *Import) Resume(before Progress) error {
	if err := im.File.skip(before.Position); err != nil {
		return fmt.Errorf("%s: going on after line %d: %w", im.File.name, before.Lines, err)
	}
	im.Begin, im.Done = before, before
	return nil
}

// Run reads chunks, one ahead, while those before are applied. The end of ctx ends it
// after the chunk under way: what was begun is finished, whatever interrupts it. If it
// does not get to the end of the file it notes how far it got; Noted reports whether
// that could be done.
func (im *Import) Run(ctx context.Context) (noted bool, err error) {
	reading, stop := context.WithCancel(ctx)
	chunks := make(chan *chunk, 1)
	var readErr error
	go func() {
		defer close(chunks)
		readErr = im.File.chunks(reading, im.Begin.Lines == 0 && !im.Devices, chunks)
	}()
	for c := range chunks {
		if ctx.Err() != nil {
			break
		}
		if err = im.apply(context.WithoutCancel(ctx), c); err != nil {
			break
		}
	}
	stop()
	for range chunks { // so that the reader ends
	}
	if err == nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	} else if err == nil {
		err = readErr
	}
	if im.Note == nil {
		return false, err
	}
	if err == nil {
		im.Note.Remove()
		return false, nil
	}
	return im.Done.Lines > 0 && im.Note.save(im.Done) == nil, err
}

// apply sends a chunk and takes in what became of it.
func (im *Import) apply(ctx context.Context, c *chunk) error {
	failures := c.bad
	var counts Counts
	if len(c.data) > 0 {
		out, err := im.send(ctx, c)
		if err != nil {
			return err
		}
		counts = out.Counts
		for _, f := range out.Failures {
			if n := c.numbers[f.Line]; n > 0 {
				failures = append(failures, Failure{n, f.Account, f.Reason})
			}
		}
	}
	slices.SortStableFunc(failures, func(a, b Failure) int { return cmp.Compare(a.Line, b.Line) })
	if err := im.Failed(failures); err != nil {
		return err
	}
	im.Done = Progress{c.end, im.Done.plus(counts), im.Done.Bad + len(failures)}
	if im.Watch != nil {
		im.Watch(c.read, im.Done)
	}
	if bad := im.Done.Bad - im.Begin.Bad; im.MaxBad > 0 && bad > im.MaxBad {
		return fmt.Errorf("%w: %d", ErrTooManyBad, bad)
	}
	if im.Note != nil {
		return im.Note.saveSometimes(im.Done)
	}
	return nil
}

func (im *Import) send(ctx context.Context, c *chunk) (*Result, error) {
	out := Chunk{App: im.App, Replace: im.Replace, Begins: c.begins}
	if im.DryRun && c.begins && len(c.header) > 0 {
		im.header = c.header
	}
	if im.DryRun && !c.begins && im.header != nil {
		// No chunk before it named the attributes for good.
		c.data, c.numbers, out.Begins = append(slices.Clone(im.header), c.data...), append([]int{0}, c.numbers...), true
	}
	im.Sent = true
	return im.Send(ctx, out, c.data)
}
