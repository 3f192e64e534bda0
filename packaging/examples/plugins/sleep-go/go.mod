module sleep

go 1.19
