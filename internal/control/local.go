package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"

	"tidings/internal/admin"
)

// Local returns a Caller for a service of this process. Closing it calls done.
func Local(s *admin.Service, done func() error) admin.Caller { return &local{s, done} }

type local struct {
	service *admin.Service
	done    func() error
}

// Call does an operation here, with the same encoding as through a socket.
func (l *local) Call(ctx context.Context, name string, in, out any) error {
	request, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var answer bytes.Buffer
	if err := l.service.Do(ctx, name, request, nil, &admin.Answer{Writer: &answer}); err != nil {
		return err
	}
	return decode(answer.Bytes(), out)
}

// Stream does an operation here.
func (l *local) Stream(ctx context.Context, name string, in any, data []byte) (io.ReadCloser, error) {
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	read, write := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		out := bufio.NewWriterSize(write, answerBuffer)
		err := l.service.Do(ctx, name, request, bytes.NewReader(data), &admin.Answer{Writer: out, Push: func() { _ = out.Flush() }})
		if err == nil {
			err = out.Flush()
		}
		_ = write.CloseWithError(err) // never fails
	}()
	return &piped{read, cancel, done}, nil
}

// Close closes the data directory.
func (l *local) Close() error { return l.done() }

// piped is the answer of a stream of this process.
type piped struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the operation if it is not done, and waits for it.
func (p *piped) Close() error {
	p.cancel()
	err := p.PipeReader.Close()
	<-p.done
	return err
}
