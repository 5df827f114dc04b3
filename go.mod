module github.com/fettle-gitops/fettle

go 1.26.8
