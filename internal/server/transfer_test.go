package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/server"
	"tidings/internal/transfer"
)

// benchUsers is how many users a chunk of the benchmarks has.
const benchUsers = 10_000

func benchCaller(b *testing.B) admin.Caller {
	c, err := server.Operate(b.Context(), b.TempDir(), false, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	d := app.Declaration{ID: 9, AttrNames: map[string]string{"0": "sex", "1": "city", "2": "country"}}
	if err := c.Call(b.Context(), "app/create", d, nil); err != nil {
		b.Fatal(err)
	}
	return c
}

// benchChunk is users from a number on, with three attributes and two tags.
func benchChunk(chunk []byte, from int) []byte {
	for i := from; i < from+benchUsers; i++ {
		chunk = fmt.Appendf(chunk, `{"To_Account":"user%08d","Attrs":{"sex":"%s","city":"city%d","country":"country%d"},"Tags":["tag%d","tag%d"],"Created":%d}`+"\n",
			i, [...]string{"male", "female"}[i%2], i%300, i%50, i%97, 100+i%89, 1_760_000_000+i)
	}
	return chunk
}

// stream does an operation and gives the size of its answer.
func stream(b *testing.B, c admin.Caller, op string, in any, body []byte) int64 {
	answer, err := c.Stream(b.Context(), op, in, body)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Close()
	n, err := io.Copy(io.Discard, answer)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkImport imports users, all of them new, without a file and a socket.
func BenchmarkImport(b *testing.B) {
	c := benchCaller(b)
	var chunk []byte
	from := 0
	for b.Loop() {
		chunk = benchChunk(chunk[:0], from) // some 4% of the time
		from += benchUsers
		stream(b, c, string(admin.ImportUsers), transfer.Chunk{App: 9}, chunk)
	}
	b.ReportMetric(float64(from)/b.Elapsed().Seconds(), "users/s")
}

// BenchmarkExport exports 100,000 users without a file and a socket.
func BenchmarkExport(b *testing.B) {
	c := benchCaller(b)
	for from := 0; from < 10*benchUsers; from += benchUsers {
		stream(b, c, string(admin.ImportUsers), transfer.Chunk{App: 9}, benchChunk(nil, from))
	}
	n := 0
	for b.Loop() {
		stream(b, c, string(admin.ExportUsers), admin.ExportRequest{ID: 9}, nil)
		n += 10 * benchUsers
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "users/s")
}
