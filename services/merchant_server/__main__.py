from services.common.early import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()
    from services.merchant_server.main import main

    raise SystemExit(main())
