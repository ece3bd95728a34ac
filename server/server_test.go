package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"strongroom.dev/server"
)

// TestServeStops stops a server while an answer is under way: it is finished.
func TestServeStops(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		io.WriteString(w, "all of it")
	})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(ctx, listener, handler, nil) }()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-begun
	stop()
	time.Sleep(10 * time.Millisecond)
	close(finish)
	if got := <-answer; got != "all of it" {
		t.Errorf("answer %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second); err == nil {
		t.Error("the port still answers")
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := server.Serve(context.Background(), listener, http.NotFoundHandler(), nil); err == nil {
		t.Error("a closed listener is no error")
	}
}

// TestBodyIsBoundedBeforeItIsRead sends a body that never ends.
func TestBodyIsBoundedBeforeItIsRead(t *testing.T) {
	s := startShared(t, false)
	body := io.MultiReader(strings.NewReader(`{"origin":"`), endless{})
	resp, err := http.Post(s.http.URL+"/v1/witnessed", "application/json", body)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}
