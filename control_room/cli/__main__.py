from control_room.cli.main import main

if __name__ == "__main__":
    main()
