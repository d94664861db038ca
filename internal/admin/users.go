package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"

	"tidings/internal/transfer"
)

func (s *Service) importUsers(ctx context.Context, in transfer.Chunk, lines io.Reader, out *Answer) error {
	return s.applyChunk(ctx, in, false, lines, out)
}

func (s *Service) tryImport(ctx context.Context, in transfer.Chunk, lines io.Reader, out *Answer) error {
	return s.applyChunk(ctx, in, true, lines, out)
}

func (s *Service) applyChunk(ctx context.Context, in transfer.Chunk, dryRun bool, lines io.Reader, out *Answer) error {
	if _, err := s.find(in.App); err != nil {
		return err
	}
	result, err := transfer.Apply(ctx, s.Apps, s.Users, in, dryRun, lines)
	if err != nil {
		return err
	}
	out.facts = []slog.Attr{slog.Int("users", result.Users), slog.Int("bad", len(result.Failures))}
	return json.NewEncoder(out).Encode(result)
}

func (s *Service) exportUsers(ctx context.Context, in AppRequest, _ io.Reader, out *Answer) error {
	if _, err := s.find(in.ID); err != nil {
		return err
	}
	return transfer.Write(ctx, s.Users, in.ID, out)
}
