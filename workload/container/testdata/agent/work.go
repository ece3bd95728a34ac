package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// work is the workload: one thing, said on standard output, an error's text too.
func work(mode string, args []string) {
	text, err := map[string]func([]string) (string, error){
		"environment": environment, "write": write, "read": read, "result": result, "get": get, "transit": transit,
		"sleep": sleep, "flaky": flaky, "print": printMuch, "list": list,
	}[mode](args)
	if err != nil {
		fmt.Println("ERROR:", err)
		os.Exit(3)
	}
	fmt.Println(text)
}

func environment([]string) (string, error) {
	dir, err := os.Getwd()
	return fmt.Sprint(strings.Join(os.Environ(), ","), " in ", dir, " as ", os.Getuid(), ":", os.Getgid()), err
}

func write(args []string) (string, error) {
	return "written", os.WriteFile(args[0], []byte(args[1]), 0o640)
}

func read(args []string) (string, error) {
	data, err := os.ReadFile(args[0])
	return string(data), err
}

func list(args []string) (out string, err error) {
	err = filepath.Walk(args[0], func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		out += fmt.Sprint(path, " ", info.Mode(), " ", st.Uid, ":", st.Gid, "; ")
		return nil
	})
	return out, err
}

func result(args []string) (string, error) {
	return "done", os.WriteFile("/result/result", []byte(args[0]), 0o600)
}

func get(args []string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(args[0])
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	return string(data), err
}

func transit(args []string) (out string, err error) {
	for i := 0; i+1 < len(args); i += 2 {
		r, err := http.Post("http://127.0.0.1:8200/v1/transit/"+args[i], "application/json", bytes.NewReader([]byte(args[i+1])))
		if err != nil {
			return out, err
		}
		data, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return out, err
		}
		out += fmt.Sprintln(r.StatusCode, string(data))
	}
	return out, nil
}

func sleep([]string) (string, error) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("asleep")
	return "terminated", func() error { <-c; return nil }()
}

// flaky fails until it was started so often as a file of a memory mount says.
func flaky(args []string) (string, error) {
	data, _ := os.ReadFile("/tmp/count")
	n, _ := strconv.Atoi(string(data))
	if err := os.WriteFile("/tmp/count", []byte(strconv.Itoa(n+1)), 0o600); err != nil {
		return "", err
	}
	if want, err := strconv.Atoi(args[0]); err != nil || n < want {
		return "", fmt.Errorf("attempt %d", n)
	}
	return "fine", nil
}

func printMuch(args []string) (string, error) {
	n, err := strconv.Atoi(args[0])
	for range n {
		fmt.Println(strings.Repeat("x", 99))
	}
	return "end", err
}
